/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * The UDP listener: datagrams in by recvmmsg, hits out by sendmmsg, misses into
 * a ring that the reactor empties. Linux.
 *
 * One dg_worker has one socket and runs either in a thread of its own, where it
 * waits in recvmmsg, or is polled by the reactor when the socket is readable.
 * The one that runs it is the reader of the table, the producer of the record
 * ring and the producer of the miss ring; the reactor is the consumer of both.
 */
#ifndef DNSGUARD_REPLAY_LOOP_H
#define DNSGUARD_REPLAY_LOOP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "table.h"

enum {
    DG_BATCH = 64,
    DG_RECEIVE = 2048, /* octets of a datagram; a longer one is counted, dropped */
    DG_CONTROL = 64,
    DG_POLL_BATCHES = 16
};

/* Where a reply has to go, and the local address it has to come from. */
typedef struct {
    union {
        struct sockaddr base;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } to;
    uint32_t toSize;
    uint32_t fromFamily; /* 0: whatever the socket is bound to */
    union {
        struct in_pktinfo in;
        struct in6_pktinfo in6;
    } from;
} dg_peer;

/* The head of one datagram in the miss ring. */
typedef struct {
    uint32_t total; /* octets with padding; UINT32_MAX: go on at the start */
    uint32_t size;
    int64_t arrived;
    dg_peer peer;
} dg_miss;

typedef struct {
    uint8_t *octets;
    uint64_t size; /* a power of two */
    uint64_t head __attribute__((aligned(64)));
    uint64_t tail __attribute__((aligned(64)));
} dg_missRing;

typedef struct {
    dg_table *table;
    dg_reader *reader;
    int socket, wake, wantsSource;
    int stop, signalled;
    uint64_t received, hits, malformed, oversized, portless, missDrops, unsent, errors;
    dg_missRing misses;
    /* The loop's own buffers. */
    uint8_t *receive, *reply;
    size_t replyStride;
    struct mmsghdr in[DG_BATCH], out[DG_BATCH];
    struct iovec inPlace[DG_BATCH], outPlace[DG_BATCH];
    uint8_t control[DG_BATCH][DG_CONTROL] __attribute__((aligned(16)));
    uint8_t outControl[DG_BATCH][DG_CONTROL] __attribute__((aligned(16)));
    dg_peer peers[DG_BATCH];
    dg_request requests[DG_BATCH];
    dg_record records[DG_BATCH];
    uint64_t hashes[DG_BATCH];
} dg_worker;

/* ---- addresses ---------------------------------------------------------- */

/* Note which local address a datagram was sent to. */
static inline void dg_readSource(struct msghdr *message, dg_peer *peer) {
    peer->fromFamily = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO &&
            part->cmsg_len >= CMSG_LEN(sizeof peer->from.in)) {
            memcpy(&peer->from.in, CMSG_DATA(part), sizeof peer->from.in);
            /* The routing table chooses the interface, not the way it came. */
            peer->from.in.ipi_ifindex = 0;
            peer->fromFamily = AF_INET;
        } else if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO &&
                   part->cmsg_len >= CMSG_LEN(sizeof peer->from.in6)) {
            memcpy(&peer->from.in6, CMSG_DATA(part), sizeof peer->from.in6);
            if (IN6_IS_ADDR_MULTICAST(&peer->from.in6.ipi6_addr)) {
                continue; /* no address to answer from */
            }
            /* A link-local address means nothing without its interface. */
            if (!IN6_IS_ADDR_LINKLOCAL(&peer->from.in6.ipi6_addr)) peer->from.in6.ipi6_ifindex = 0;
            peer->fromFamily = AF_INET6;
        }
    }
}

/* Let a reply leave from the address that was asked. */
static inline void dg_writeSource(struct msghdr *message, uint8_t *control, const dg_peer *peer) {
    struct cmsghdr *part;
    size_t size = peer->fromFamily == AF_INET ? sizeof peer->from.in : sizeof peer->from.in6;
    message->msg_control = NULL;
    message->msg_controllen = 0;
    if (!peer->fromFamily) return;
    memset(control, 0, DG_CONTROL);
    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(size);
    part = CMSG_FIRSTHDR(message);
    part->cmsg_level = peer->fromFamily == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
    part->cmsg_type = peer->fromFamily == AF_INET ? IP_PKTINFO : IPV6_PKTINFO;
    part->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(part), &peer->from, size);
}

/* The packed address of a peer; its size, or 0 for another family. */
static inline size_t dg_address(const dg_peer *peer, const uint8_t **octets) {
    if (peer->to.base.sa_family == AF_INET && peer->toSize >= sizeof peer->to.in) {
        *octets = (const uint8_t *)&peer->to.in.sin_addr;
        return 4;
    }
    if (peer->to.base.sa_family == AF_INET6 && peer->toSize >= sizeof peer->to.in6) {
        *octets = (const uint8_t *)&peer->to.in6.sin6_addr;
        return 16;
    }
    return 0;
}

/* ---- misses ------------------------------------------------------------- */

/* Put a datagram into the miss ring; 0 when there's no room. */
static inline int dg_putMiss(dg_missRing *ring, const dg_peer *peer, const uint8_t *octets,
                             uint32_t size, int64_t arrived) {
    uint32_t total = (uint32_t)((sizeof(dg_miss) + size + 15) & ~(size_t)15);
    uint64_t head = ring->head, tail = DG_LOAD(&ring->tail, ACQUIRE);
    uint64_t toEnd = ring->size - (head & (ring->size - 1));
    uint64_t skipped = toEnd < total ? toEnd : 0;
    dg_miss miss;
    if (ring->size - (head - tail) < skipped + total) return 0;
    if (skipped) {
        uint32_t mark = UINT32_MAX;
        memcpy(ring->octets + (head & (ring->size - 1)), &mark, sizeof mark);
        head += skipped;
    }
    miss.total = total;
    miss.size = size;
    miss.arrived = arrived;
    miss.peer = *peer;
    memcpy(ring->octets + (head & (ring->size - 1)), &miss, sizeof miss);
    memcpy(ring->octets + (head & (ring->size - 1)) + sizeof miss, octets, size);
    DG_STORE(&ring->head, head + total, RELEASE);
    return 1;
}

/* Look at the longest waiting datagram. Returns its octets, valid until
 * dg_dropMiss(), or NULL when there is none. */
static inline const uint8_t *dg_peekMiss(dg_missRing *ring, dg_miss *miss) {
    uint64_t head = DG_LOAD(&ring->head, ACQUIRE);
    uint64_t place;
    if (ring->tail == head) return NULL;
    place = ring->tail & (ring->size - 1);
    memcpy(&miss->total, ring->octets + place, sizeof miss->total);
    if (miss->total == UINT32_MAX) {
        DG_STORE(&ring->tail, ring->tail + (ring->size - place), RELEASE);
        place = 0;
    }
    memcpy(miss, ring->octets + place, sizeof *miss);
    return ring->octets + place + sizeof *miss;
}

static inline void dg_dropMiss(dg_missRing *ring, const dg_miss *miss) {
    DG_STORE(&ring->tail, ring->tail + miss->total, RELEASE);
}

/* ---- one batch ---------------------------------------------------------- */

static inline void dg_prepare(dg_worker *worker, int count) {
    for (int i = 0; i < count; i++) {
        struct msghdr *message = &worker->in[i].msg_hdr;
        message->msg_namelen = sizeof worker->peers[i].to;
        message->msg_controllen = worker->wantsSource ? DG_CONTROL : 0;
        message->msg_flags = 0;
    }
}

/* Send messages, going on behind those that can't be sent. Returns how many are
 * done with: less than all when the socket's buffer is full. */
static inline unsigned dg_send(int socket, struct mmsghdr *messages, unsigned count, int flags,
                               uint64_t *unsent) {
    unsigned done = 0;
    while (done < count) {
        int result = sendmmsg(socket, messages + done, count - done, flags);
        if (result > 0) {
            done += (unsigned)result;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            break;
        } else if (errno != EINTR) {
            ++*unsent;
            done++;
        }
    }
    return done;
}

/* Is there an eligible request in place `i`? Then its key is sealed and its
 * bucket on the way into the cache. */
static inline int dg_readPlace(dg_worker *worker, int i, const dg_views *views) {
    dg_request *request = &worker->requests[i];
    const uint8_t *address = NULL;
    size_t size = dg_address(&worker->peers[i], &address);
    int32_t view;
    if (!size || !dg_readRequest(worker->inPlace[i].iov_base, worker->in[i].msg_len,
                                 worker->table->fullLimit, request))
        return 0;
    view = dg_place(views, address, size, &worker->records[i]);
    if (view < 0) return 0;
    dg_sealKey(request, (uint32_t)view);
    worker->hashes[i] = dg_keyHash(worker->table, request);
    __builtin_prefetch(&worker->table->buckets[worker->hashes[i] & worker->table->mask]);
    return 1;
}

/* Must the datagram in place `i` be dropped? A response would only be dropped
 * further on; what is shorter than a header can't be answered. */
static inline int dg_isRubbish(dg_worker *worker, int i) {
    const uint8_t *octets = worker->inPlace[i].iov_base;
    /* Both kinds of address have their port in the same place. */
    if (!worker->peers[i].to.in.sin_port) {
        DG_ADD(&worker->portless, 1);
        return 1;
    }
    if (worker->in[i].msg_hdr.msg_flags & MSG_TRUNC) {
        DG_ADD(&worker->oversized, 1);
        return 1;
    }
    if (worker->in[i].msg_len < DG_HEADER || octets[2] & 0x80) {
        DG_ADD(&worker->malformed, 1);
        return 1;
    }
    return 0;
}

/* Write the reply to the request in place `i` into place `o` of the output. */
static inline void dg_writePlace(dg_worker *worker, int i, int o, dg_entry *entry, int64_t now) {
    uint8_t *reply = worker->reply + (size_t)o * worker->replyStride;
    struct msghdr *message = &worker->out[o].msg_hdr;
    dg_replay(reply, entry, worker->inPlace[i].iov_base, &worker->requests[i], now);
    worker->outPlace[o].iov_len = entry->replySize;
    message->msg_name = &worker->peers[i].to;
    message->msg_namelen = worker->peers[i].toSize;
    dg_writeSource(message, worker->outControl[o], &worker->peers[i]);
    if (o != i) {
        memcpy(worker->records[o].address, worker->records[i].address, 16);
        worker->records[o].family = worker->records[i].family;
    }
    worker->records[o].number = entry->link.number;
    worker->records[o].size = entry->replySize;
    worker->records[o].transport = 0;
}

/* Tell the reactor that there are misses, unless it has been told. */
static inline void dg_signal(dg_worker *worker) {
    static const uint64_t one = 1;
    if (__atomic_exchange_n(&worker->signalled, 1, __ATOMIC_SEQ_CST)) return;
    while (write(worker->wake, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

/* Let the next miss be told of. What was put before is seen from here on: the
 * exchange reads what the last one to tell has written. */
static inline void dg_heard(dg_worker *worker) {
    __atomic_exchange_n(&worker->signalled, 0, __ATOMIC_SEQ_CST);
}

static inline void dg_stop(dg_worker *worker) { DG_STORE(&worker->stop, 1, RELEASE); }

/* Answer `count` datagrams that have been received. Returns the misses. */
static inline int dg_answer(dg_worker *worker, int count) {
    dg_table *table = worker->table;
    int64_t arrived = dg_clock(CLOCK_REALTIME), started = dg_clock(CLOCK_MONOTONIC);
    int64_t now = started + DG_LOAD(&table->clockOffset, RELAXED), took;
    int hits = 0, misses = 0, eligible[DG_BATCH];
    unsigned done;
    uint64_t unsent = 0;
    const dg_views *views;
    dg_enter(table, worker->reader);
    views = DG_LOAD(&table->views, ACQUIRE);
    for (int i = 0; i < count; i++) {
        worker->peers[i].toSize = worker->in[i].msg_hdr.msg_namelen;
        worker->peers[i].fromFamily = 0;
        if (worker->wantsSource) dg_readSource(&worker->in[i].msg_hdr, &worker->peers[i]);
        eligible[i] = dg_isRubbish(worker, i) ? -1 : dg_readPlace(worker, i, views);
    }
    for (int i = 0; i < count; i++) {
        dg_entry *entry = NULL;
        if (eligible[i] < 0) continue;
        if (eligible[i])
            entry = dg_lookup(table, &worker->requests[i], worker->hashes[i], views->generation,
                              now);
        if (entry) {
            dg_writePlace(worker, i, hits++, entry, now);
        } else {
            misses++;
            if (!dg_putMiss(&worker->misses, &worker->peers[i], worker->inPlace[i].iov_base,
                            worker->in[i].msg_len, arrived))
                DG_ADD(&worker->missDrops, 1);
        }
    }
    /* Polled, the socket may be full: replies are lost then, as anywhere. */
    done = dg_send(worker->socket, worker->out, (unsigned)hits, 0, &unsent);
    unsent += (unsigned)hits - done;
    took = dg_clock(CLOCK_MONOTONIC) - started;
    for (int o = 0; o < hits; o++) {
        worker->records[o].arrived = arrived;
        worker->records[o].took = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    }
    dg_note(&worker->reader->ring, worker->records, (uint64_t)hits);
    /* Not before: the numbers just noted keep their meaning until here. */
    dg_leave(worker->reader);
    DG_ADD(&worker->reader->hits, (uint64_t)hits);
    DG_ADD(&worker->reader->misses, (uint64_t)misses);
    DG_ADD(&worker->received, (uint64_t)count);
    DG_ADD(&worker->hits, (uint64_t)hits);
    DG_ADD(&worker->unsent, unsent);
    return misses;
}

/* ---- running ------------------------------------------------------------ */

/* Answer until told to stop, waiting in recvmmsg. The socket is one that blocks,
 * shut down for reading after worker->stop is set: what it holds is still
 * answered, and then it gives empty datagrams without end. Returns 0, or the
 * errno of a socket that can't be read any more. */
static inline int dg_run(dg_worker *worker) {
    int count = DG_BATCH, stopped;
    for (;;) {
        dg_prepare(worker, count > 0 ? count : 0);
        stopped = DG_LOAD(&worker->stop, ACQUIRE);
        count = recvmmsg(worker->socket, worker->in, DG_BATCH, MSG_WAITFORONE, NULL);
        if (count <= 0) {
            if (stopped) return 0;
            if (errno == EBADF || errno == ENOTSOCK || errno == EINVAL) return errno;
            /* A timeout, a signal, or the ICMP answer to an earlier reply. */
            if (errno != EAGAIN && errno != EINTR) DG_ADD(&worker->errors, 1);
            continue;
        }
        if (DG_LOAD(&worker->stop, ACQUIRE)) {
            int left = count;
            while (left && !worker->in[left - 1].msg_len) left--;
            if (left && dg_answer(worker, left)) dg_signal(worker);
            if (left < count) return 0;
        } else if (dg_answer(worker, count)) {
            dg_signal(worker);
        }
    }
}

/* Answer what is there, at most DG_POLL_BATCHES batches. */
static inline void dg_poll(dg_worker *worker) {
    for (int i = 0; i < DG_POLL_BATCHES; i++) {
        int count;
        dg_prepare(worker, DG_BATCH);
        count = recvmmsg(worker->socket, worker->in, DG_BATCH, MSG_DONTWAIT, NULL);
        if (count <= 0) {
            if (errno != EAGAIN && errno != EINTR) DG_ADD(&worker->errors, 1);
            return;
        }
        dg_answer(worker, count);
        if (count < DG_BATCH) return;
    }
}

/* ---- replies from the reactor ------------------------------------------- */

/* Replies to misses, to be sent by one call. */
typedef struct {
    struct mmsghdr messages[DG_BATCH];
    struct iovec places[DG_BATCH];
    uint8_t control[DG_BATCH][DG_CONTROL] __attribute__((aligned(16)));
    dg_peer peers[DG_BATCH];
} dg_outbox;

/* Put a reply into place `i`; its octets must stay where they are. */
static inline void dg_post(dg_outbox *outbox, int i, const void *reply, size_t size,
                           const void *peer) {
    struct msghdr *message = &outbox->messages[i].msg_hdr;
    memcpy(&outbox->peers[i], peer, sizeof outbox->peers[i]);
    memset(message, 0, sizeof *message);
    outbox->places[i].iov_base = (void *)reply;
    outbox->places[i].iov_len = size;
    message->msg_iov = &outbox->places[i];
    message->msg_iovlen = 1;
    message->msg_name = &outbox->peers[i].to;
    message->msg_namelen = outbox->peers[i].toSize;
    dg_writeSource(message, outbox->control[i], &outbox->peers[i]);
}

/* ---- making ------------------------------------------------------------- */

static inline void dg_freeWorker(dg_worker *worker) {
    free(worker->misses.octets);
    free(worker->receive);
    free(worker->reply);
    free(worker);
}

/* Make a worker for a bound socket; NULL without memory. */
static inline dg_worker *dg_newWorker(dg_table *table, dg_reader *reader, int socket, int wake,
                                      int wantsSource, uint64_t missOctets) {
    dg_worker *worker = NULL;
    if (posix_memalign((void **)&worker, 64, sizeof *worker)) return NULL;
    memset(worker, 0, sizeof *worker);
    worker->table = table;
    worker->reader = reader;
    worker->socket = socket;
    worker->wake = wake;
    worker->wantsSource = wantsSource;
    worker->misses.size = missOctets;
    worker->misses.octets = malloc(missOctets);
    worker->replyStride = ((size_t)table->fullLimit + 127) & ~(size_t)63;
    worker->receive = malloc((size_t)DG_BATCH * (DG_RECEIVE + 64));
    worker->reply = malloc(DG_BATCH * worker->replyStride);
    if (!worker->misses.octets || !worker->receive || !worker->reply) {
        dg_freeWorker(worker);
        return NULL;
    }
    for (int i = 0; i < DG_BATCH; i++) {
        worker->inPlace[i].iov_base = worker->receive + (size_t)i * (DG_RECEIVE + 64);
        worker->inPlace[i].iov_len = DG_RECEIVE;
        worker->in[i].msg_hdr.msg_iov = &worker->inPlace[i];
        worker->in[i].msg_hdr.msg_iovlen = 1;
        worker->in[i].msg_hdr.msg_name = &worker->peers[i].to;
        worker->in[i].msg_hdr.msg_control = wantsSource ? worker->control[i] : NULL;
        worker->outPlace[i].iov_base = worker->reply + (size_t)i * worker->replyStride;
        worker->out[i].msg_hdr.msg_iov = &worker->outPlace[i];
        worker->out[i].msg_hdr.msg_iovlen = 1;
    }
    return worker;
}

#endif
