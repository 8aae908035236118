/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * The whole listener under a sanitizer: two workers on one port, a client that
 * floods them with requests good and bad, and a main thread that does what the
 * reactor does. Every good request must get its right answer, whether the system
 * takes replies together or seems to refuse them.
 *
 *     clang -g -O2 -fsanitize=thread -I dnsguard/replay fuzz/listener.c -o listener -lpthread
 *     ./listener 60
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "loop.h"
#include "writer.h"

enum { WORKERS = 2, NAMES = 300, WINDOW = 64, RING_BITS = 14 };

static dg_table *table;
static dg_worker *workers[WORKERS];
static int stop, loaded;
static uint16_t port;
static uint64_t asked, answered, wrong;

static size_t makeRequest(uint8_t *out, unsigned number, uint16_t id) {
    static const uint8_t rest[] = {7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1};
    static const uint8_t header[10] = {1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    out[0] = (uint8_t)(id >> 8);
    out[1] = (uint8_t)id;
    memcpy(out + 2, header, sizeof header);
    out[12] = 3;
    for (int i = 0; i < 3; i++) out[13 + i] = (uint8_t)('a' + (number >> (4 * i) & 15));
    memcpy(out + 16, rest, sizeof rest);
    return 16 + sizeof rest;
}

/* One address, which is the name's three letters; works in place. */
static size_t makeReply(uint8_t *out, size_t size) {
    static const uint8_t fixed[13] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 10};
    uint8_t letters[3];
    memcpy(letters, out + 13, 3);
    out[2] |= 0x80;
    out[7] = 1;
    memcpy(out + size, fixed, sizeof fixed);
    memcpy(out + size + sizeof fixed, letters, 3);
    return size + 16;
}

static uint64_t next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static int makeSocket(void) {
    int made = socket(AF_INET, SOCK_DGRAM, 0), yes = 1;
    struct timeval timeout = {1, 0};
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t size = sizeof local;
    setsockopt(made, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
    setsockopt(made, IPPROTO_IP, IP_PKTINFO, &yes, sizeof yes);
    setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    assert(!bind(made, (struct sockaddr *)&local, sizeof local));
    getsockname(made, (struct sockaddr *)&local, &size);
    port = ntohs(local.sin_port);
    return made;
}

static void *work(void *given) {
    assert(dg_run(given) == 0);
    return NULL;
}

/* Ask WINDOW questions at a time, from a new socket now and then. */
static void *load(void *given) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval timeout = {0, 300000};
    uint64_t state = 0x9e3779b97f4a7c15ULL;
    (void)given;
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    while (!DG_LOAD(&stop, RELAXED)) {
        int client = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
        assert(!connect(client, (struct sockaddr *)&server, sizeof server));
        for (int round = 0; round < 50 && !DG_LOAD(&stop, RELAXED); round++) {
            uint8_t message[512];
            for (int i = 0; i < WINDOW; i++) {
                size_t size = makeRequest(message, next(&state) % NAMES, (uint16_t)i);
                if (next(&state) % 8 == 0) {
                    uint8_t bad[512];
                    memcpy(bad, message, size);
                    bad[2] |= 0x80; /* dropped, whatever else is wrong with it */
                    bad[next(&state) % size] ^= (uint8_t)next(&state);
                    bad[2] |= 0x80;
                    send(client, bad, next(&state) % size, 0);
                }
                if (send(client, message, size, 0) > 0) asked++;
            }
            for (int i = 0; i < WINDOW; i++) {
                ssize_t size = recv(client, message, sizeof message, 0);
                if (size < 0) break;
                answered++;
                if (size != 45 || memcmp(message + 42, message + 13, 3)) wrong++;
            }
        }
        close(client);
    }
    DG_STORE(&loaded, 1, RELEASE);
    return NULL;
}

static void publish(int64_t generation) {
    dg_views *views = dg_copyViews(table->views);
    views->generation = generation;
    dg_adopt(table, views);
}

/* What the reactor does when it hears of misses. */
static void takeMisses(dg_worker *worker) {
    dg_outbox outbox;
    static uint8_t replies[DG_BATCH][512];
    uint64_t count, unsent = 0;
    const uint8_t *octets;
    dg_miss miss;
    int filled = 0;
    if (read(worker->wake, &count, sizeof count) < 0) assert(errno == EAGAIN);
    dg_heard(worker);
    while ((octets = dg_peekMiss(&worker->misses, &miss))) {
        dg_request request;
        size_t size;
        assert(miss.size == 29);
        memcpy(replies[filled], octets, miss.size);
        dg_dropMiss(&worker->misses, &miss);
        assert(dg_readRequest(replies[filled], miss.size, 1232, &request));
        dg_sealKey(&request, 0);
        size = makeReply(replies[filled], miss.size);
        dg_remember(table, &request, replies[filled], replies[filled], size, 1000000000,
                    dg_clock(CLOCK_MONOTONIC));
        dg_post(&outbox, filled, replies[filled], size, &miss.peer);
        if (++filled == DG_BATCH) {
            dg_send(worker->socket, outbox.messages, (unsigned)filled, MSG_DONTWAIT, &unsent);
            filled = 0;
        }
    }
    if (filled) dg_send(worker->socket, outbox.messages, (unsigned)filled, MSG_DONTWAIT, &unsent);
}

int main(int count, char **arguments) {
    static const uint64_t keys[4] = {21, 22, 23, 24};
    static dg_record records[1 << RING_BITS];
    pthread_t threads[WORKERS], client;
    static const int refusals[] = {0, 0, EINVAL, 0, EMSGSIZE, 0, EAGAIN + 1000, 0};
    uint64_t drained = 0, hits = 0, misses = 0, dropped = 0, rubbish = 0;
    uint64_t together = 0, refused = 0;
    int64_t generation = 0, end;
    dg_link *link;
    table = dg_newTable(200, 1 << 20, 1232, keys);
    for (int i = 0; i < WORKERS; i++) {
        dg_reader *reader = dg_join(table, RING_BITS);
        workers[i] = dg_newWorker(table, reader, makeSocket(), eventfd(0, EFD_NONBLOCK), 1,
                                  1 << 16);
        pthread_create(&threads[i], NULL, work, workers[i]);
    }
    pthread_create(&client, NULL, load, NULL);
    end = dg_clock(CLOCK_MONOTONIC) + (int64_t)(count > 1 ? atoi(arguments[1]) : 10) * 1000000000;
    while (!DG_LOAD(&loaded, ACQUIRE)) {
        struct pollfd polled[WORKERS];
        for (int i = 0; i < WORKERS; i++)
            polled[i] = (struct pollfd){workers[i]->wake, POLLIN, 0};
        poll(polled, WORKERS, 5);
        for (int i = 0; i < WORKERS; i++) {
            if (polled[i].revents) takeMisses(workers[i]);
            drained += dg_take(&workers[i]->reader->ring, records, 1 << RING_BITS);
        }
        dg_sweep(table, 64, dg_clock(CLOCK_MONOTONIC));
        if (dg_clock(CLOCK_MONOTONIC) > end) DG_STORE(&stop, 1, RELAXED);
        if (generation++ % 16 == 0) publish(generation);
        for (int i = 0; i < WORKERS; i++)
            DG_STORE(&workers[i]->bundles.refusal, refusals[generation / 64 % 8], RELAXED);
        while ((link = dg_reclaim(table, dg_leastEpoch(table)))) free(link);
    }
    pthread_join(client, NULL);
    for (int i = 0; i < WORKERS; i++) {
        dg_worker *worker = workers[i];
        dg_stop(worker);
        shutdown(worker->socket, SHUT_RD);
        pthread_join(threads[i], NULL);
        drained += dg_take(&worker->reader->ring, records, 1 << RING_BITS);
        hits += worker->hits;
        misses += worker->reader->misses;
        dropped += worker->reader->ring.dropped;
        rubbish += worker->malformed;
        together += worker->bundles.segmented;
        refused += worker->bundles.refused;
        close(worker->socket);
        close(worker->wake);
        dg_freeWorker(worker);
    }
    printf("asked %lu answered %lu wrong %lu hits %lu records %lu dropped %lu misses %lu "
           "rubbish %lu policies %ld together %lu refused %lu\n",
           asked, answered, wrong, hits, drained, dropped, misses, rubbish, (long)generation / 16,
           together, refused);
    dg_freeTable(table);
    return wrong || drained + dropped != hits || answered != asked || !together || !refused;
}
