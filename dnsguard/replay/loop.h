/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * The UDP listener: datagrams in by recvmmsg, hits out by sendmmsg, those that go
 * the same way together (bundle.h), misses into a ring that the reactor empties.
 * Linux.
 *
 * One dg_worker has one socket and runs either in a thread of its own, where it
 * waits in recvmmsg, or is polled by the reactor when the socket is readable.
 * The one that runs it is the reader of the table, the producer of the record
 * ring and the producer of the miss ring; the reactor is the consumer of both.
 */
#ifndef DNSGUARD_REPLAY_LOOP_H
#define DNSGUARD_REPLAY_LOOP_H

#include "bundle.h"
#include "peer.h"
#include "table.h"

enum {
    DG_RECEIVE = 2048, /* octets of a datagram; a longer one is counted, dropped */
    DG_POLL_BATCHES = 16
};

typedef struct {
    dg_table *table;
    dg_reader *reader;
    int socket, wake, wantsSource;
    int stop, signalled;
    uint64_t received, hits, malformed, oversized, portless, missDrops, unsent, errors;
    dg_missRing misses;
    dg_bundles bundles;
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

/* ---- one batch ---------------------------------------------------------- */

static inline void dg_prepare(dg_worker *worker, int count) {
    for (int i = 0; i < count; i++) {
        struct msghdr *message = &worker->in[i].msg_hdr;
        message->msg_namelen = sizeof worker->peers[i].to;
        message->msg_controllen = worker->wantsSource ? DG_CONTROL : 0;
        message->msg_flags = 0;
    }
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
    worker->records[o].number = dg_numberOf(entry);
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

/* Read `count` datagrams: into `kinds` goes -1 for rubbish, 1 for an eligible
 * request, 0 for anything else. */
static inline void dg_readAll(dg_worker *worker, int count, const dg_views *views,
                              int8_t *kinds) {
    for (int i = 0; i < count; i++) {
        worker->peers[i].toSize = worker->in[i].msg_hdr.msg_namelen;
        worker->peers[i].fromFamily = 0;
        if (worker->wantsSource) dg_readSource(&worker->in[i].msg_hdr, &worker->peers[i]);
        kinds[i] = (int8_t)(dg_isRubbish(worker, i) ? -1 : dg_readPlace(worker, i, views));
    }
}

/* Write the replies to all hits and pass the misses on. Returns the hits. */
static inline int dg_replyAll(dg_worker *worker, int count, const int8_t *kinds,
                              int64_t generation, int64_t now, int64_t arrived, int *misses) {
    int hits = 0;
    for (int i = 0; i < count; i++) {
        dg_entry *entry = NULL;
        if (kinds[i] < 0) continue;
        if (kinds[i])
            entry = dg_lookup(worker->table, &worker->requests[i], worker->hashes[i], generation,
                              now);
        if (entry) {
            dg_writePlace(worker, i, hits++, entry, now);
            continue;
        }
        ++*misses;
        if (!dg_putMiss(&worker->misses, &worker->peers[i], worker->inPlace[i].iov_base,
                        worker->in[i].msg_len, arrived))
            DG_ADD(&worker->missDrops, 1);
    }
    return hits;
}

/* Leave the records of the hits that have just been sent. */
static inline void dg_noteAll(dg_worker *worker, int hits, int64_t arrived, int64_t took) {
    for (int o = 0; o < hits; o++) {
        worker->records[o].arrived = arrived;
        worker->records[o].took = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    }
    dg_note(&worker->reader->ring, worker->records, (uint64_t)hits);
}

/* Answer `count` datagrams that have been received. Returns the misses. The
 * clock is read once before and once after: all in a batch arrived together, and
 * took as long as the batch. */
static inline int dg_answer(dg_worker *worker, int count) {
    dg_table *table = worker->table;
    int64_t arrived = dg_clock(CLOCK_REALTIME), started = dg_clock(CLOCK_MONOTONIC);
    int64_t now = started + DG_LOAD(&table->clockOffset, RELAXED);
    uint64_t unsent = 0;
    int8_t kinds[DG_BATCH];
    const dg_views *views;
    int hits, misses = 0;
    dg_enter(table, worker->reader);
    views = DG_LOAD(&table->views, ACQUIRE);
    dg_readAll(worker, count, views, kinds);
    hits = dg_replyAll(worker, count, kinds, views->generation, now, arrived, &misses);
    if (hits) {
        unsigned done = dg_sendBundled(&worker->bundles, worker->socket, worker->out,
                                       (unsigned)hits, worker->outControl, 0, &unsent);
        /* Polled, the socket may be full: replies are lost then, as anywhere. */
        unsent += (unsigned)hits - done;
        dg_noteAll(worker, hits, arrived, dg_clock(CLOCK_MONOTONIC) - started);
    }
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
    dg_probeBundles(&worker->bundles, socket);
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
