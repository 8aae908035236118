/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * Makes the clock on the wall go faster for one process, HURRY times as fast,
 * from the moment it starts: to be loaded in front of the C library. Time-outs,
 * which go by another clock, stay as they are.
 *
 *     cc -shared -fPIC -O2 -o hurry.so hurry.c
 *     HURRY=360 LD_PRELOAD=./hurry.so unbound -d -c unbound.conf
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static int64_t began; /* microseconds */
static int64_t factor = 1;

static int64_t real(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("HURRY");
    if (text && atoll(text) > 0)
        factor = atoll(text);
    began = real();
}

static int64_t hurried(void) {
    return began + (real() - began) * factor;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int64_t micros = hurried();
    (void)zone;
    now->tv_sec = micros / 1000000;
    now->tv_usec = micros % 1000000;
    return 0;
}

time_t time(time_t *result) {
    time_t seconds = hurried() / 1000000;
    if (result)
        *result = seconds;
    return seconds;
}
