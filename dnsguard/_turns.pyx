# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the system is told of the length of a thread's turns; see
L{dnsguard.priority}.
"""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #ifdef __linux__
    #include <sys/syscall.h>
    #include <unistd.h>
    #endif

    /* As the system has it; the C library has no name for it until glibc 2.41. */
    typedef struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } dg_schedule;

    #if defined(SYS_sched_getattr) && defined(SYS_sched_setattr)
    static int dg_readSchedule(dg_schedule *schedule) {
        memset(schedule, 0, sizeof *schedule);
        return (int)syscall(SYS_sched_getattr, 0, schedule, sizeof *schedule, 0);
    }

    static uint64_t dg_setTurns(uint64_t nanoseconds) {
        enum { OTHER = 0, BATCH = 3 }; /* the policies that know of turns */
        dg_schedule schedule;
        if (dg_readSchedule(&schedule) ||
            (schedule.policy != OTHER && schedule.policy != BATCH))
            return 0;
        schedule.size = sizeof schedule;
        schedule.runtime = nanoseconds;
        if (syscall(SYS_sched_setattr, 0, &schedule, 0)) return 0;
        return dg_readSchedule(&schedule) ? 0 : schedule.runtime;
    }
    #else
    static uint64_t dg_setTurns(uint64_t nanoseconds) { return 0; }
    #endif
    """
    uint64_t dg_setTurns(uint64_t) nogil


def setTurns(uint64_t nanoseconds):
    """
    Ask for turns of so many nanoseconds for the calling thread, unless it runs
    by real time, or only when nobody else does.

    @return: What its turns have now as the system says; 0 if it says nothing.
    """
    return dg_setTurns(nanoseconds)
