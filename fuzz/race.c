/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * One writer and several readers on one table, for ThreadSanitizer and, for the
 * order of memory on real hardware, for AddressSanitizer:
 *
 *     clang -g -O2 -fsanitize=thread -I dnsguard/replay fuzz/race.c -o race -lpthread
 *     ./race 60
 *
 * The writer remembers, replaces, forgets, evicts, sweeps, changes policies and
 * drains; it fills what it frees with rubbish. Readers look up and check that
 * what they are given is whole and what holds under the policy they entered with.
 *
 * Which policies change what follows from their number, so that readers know: some
 * change all names, some are prepared for and never come, and the others change a
 * quarter of the names, while the replies to the rest are carried over.
 */
#include <pthread.h>
#include <stdio.h>

#include "writer.h"

enum { READERS = 3, NAMES = 600, RING_BITS = 12 };

static dg_table *table;
static int stop;
static uint64_t failures, carried;

static void fail(const char *what) {
    __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
    fprintf(stderr, "FAILED: %s\n", what);
}

static size_t makeRequest(uint8_t *out, unsigned number) {
    static const uint8_t header[12] = {0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    static const uint8_t tail[] = {7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1};
    memcpy(out, header, 12);
    out[12] = 4;
    for (int i = 0; i < 4; i++) out[13 + i] = (uint8_t)('a' + (number >> (4 * i) & 15));
    memcpy(out + 17, tail, sizeof tail);
    return 17 + sizeof tail;
}

/* Every address in the reply holds name, view and generation. */
static size_t makeReply(uint8_t *out, unsigned number, unsigned view, unsigned generation) {
    size_t size = makeRequest(out, number);
    unsigned count = 1 + number % 5;
    out[2] |= 0x80;
    out[7] = (uint8_t)count;
    for (unsigned i = 0; i < count; i++) {
        static const uint8_t fixed[12] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4};
        memcpy(out + size, fixed, 12);
        dg_put32(out + size + 12, number << 20 | view << 18 | (generation & 0x3ffff));
        size += 16;
    }
    return size;
}

/* Is there ever such a policy? */
static int comes(int64_t generation) { return generation % 16 != 5; }

/* Does it change all names? */
static int changesAll(int64_t generation) { return generation % 8 == 0 || generation % 16 == 6; }

static int changes(int64_t generation, unsigned number) {
    return changesAll(generation) || generation % 4 == number % 4;
}

/* The policy that last changed what is said of a name. */
static unsigned versionOf(unsigned number, int64_t generation) {
    while (!comes(generation) || !changes(generation, number)) generation--;
    return (unsigned)generation;
}

static uint64_t next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static void *readerLoop(void *given) {
    dg_reader *reader = given;
    uint64_t state = (uint64_t)(uintptr_t)given | 1, lookups = 0, older = 0;
    while (!DG_LOAD(&stop, RELAXED)) {
        dg_views *views;
        dg_enter(table, reader);
        views = DG_LOAD(&table->views, ACQUIRE);
        for (int i = 0; i < 16; i++) {
            uint8_t message[64], out[DG_LIMIT_MAX];
            uint8_t address[4] = {10, 0, 0, (uint8_t)next(&state)};
            unsigned number = next(&state) % NAMES;
            size_t size = makeRequest(message, number);
            dg_request request;
            dg_record record;
            dg_entry *entry;
            int32_t view = dg_place(views, address, 4, &record);
            if (view != (address[3] >= 128)) fail("wrong view");
            if (!dg_readRequest(message, size, 1232, &request)) fail("request not read");
            dg_sealKey(&request, (uint32_t)view);
            entry = dg_lookup(table, &request, dg_keyHash(table, &request), views->generation, 5);
            lookups++;
            if (!entry) continue;
            dg_replay(out, entry, message, &request, 5);
            older += entry->generation < views->generation;
            for (size_t at = size; at < entry->replySize; at += 16) {
                uint32_t value = dg_u32(out + at + 12);
                if (value >> 20 != number) fail("answer of another name");
                if ((value >> 18 & 3) != (unsigned)view) fail("answer of another view");
                if ((value & 0x3ffff) != (versionOf(number, views->generation) & 0x3ffff))
                    fail("old answer");
            }
            record.number = dg_numberOf(entry);
            record.size = entry->replySize;
            dg_note(&reader->ring, &record, 1);
        }
        dg_leave(reader);
        if (next(&state) % 64 == 0) sched_yield();
    }
    __atomic_fetch_add(&carried, older, __ATOMIC_RELAXED);
    return (void *)(uintptr_t)lookups;
}

static void publish(int64_t generation) {
    dg_views *views = dg_newViews(3, 1);
    views->starts4[1] = 10u << 24 | 128;
    views->starts4[2] = 10u << 24 | 256;
    views->views4[1] = 1;
    views->generation = generation;
    dg_adopt(table, views);
}

/* Which name an entry is about. */
static unsigned nameOf(dg_entry *entry) {
    const uint8_t *name = dg_entryReply(entry) + DG_HEADER;
    unsigned number = 0;
    for (int i = 0; i < 4; i++) number |= (unsigned)(name[1 + i] - 'a') << (4 * i);
    return number;
}

/* Go on preparing for the next policy, and publish it when that is done. */
static int64_t goOn(int64_t generation, uint64_t *walk) {
    int64_t coming = generation + 1;
    uint64_t slots = 40;
    dg_entry *entry;
    if (!changesAll(coming)) {
        while ((entry = dg_walkOn(table, walk, &slots, coming, 5)))
            if (!changes(coming, nameOf(entry))) {
                if (coming % 3 == 0 && !dg_renumber(table, entry)) fail("no number");
                dg_ratify(entry, coming);
            }
        if (*walk < dg_walkEnd(table)) return generation;
    }
    *walk = 0;
    if (comes(coming)) publish(coming);
    return coming;
}

static void release(void) {
    dg_link *link;
    uint64_t least = dg_leastEpoch(table);
    while ((link = dg_reclaim(table, least))) {
        /* Whoever still reads it will notice. */
        if (link->number) {
            dg_entry *entry = (dg_entry *)link;
            memset(entry->ttls, 0xee, entry->ttlCount * sizeof(dg_ttl) + entry->replySize);
            dg_giveNumber(table, link->number);
        }
        free(link);
    }
}

int main(int count, char **arguments) {
    static const uint64_t keys[4] = {11, 12, 13, 14};
    static dg_record records[1 << RING_BITS];
    pthread_t threads[READERS];
    uint64_t state = 88172645463325252ULL, lookups = 0, drained = 0, dropped = 0, writes = 0;
    uint64_t walk = 0;
    int64_t generation = 1, end;
    dg_reader *readers[READERS];
    table = dg_newTable(400, 1 << 20, 1232, keys);
    publish(generation);
    for (int i = 0; i < READERS; i++) {
        readers[i] = dg_join(table, RING_BITS);
        pthread_create(&threads[i], NULL, readerLoop, readers[i]);
    }
    end = dg_clock(CLOCK_MONOTONIC) + (int64_t)(count > 1 ? atoi(arguments[1]) : 10) * 1000000000;
    while (dg_clock(CLOCK_MONOTONIC) < end) {
        for (int i = 0; i < 256; i++, writes++) {
            uint8_t message[64], reply[256];
            unsigned number = next(&state) % NAMES, view = next(&state) & 1;
            size_t size = makeRequest(message, number);
            dg_request request;
            dg_readRequest(message, size, 1232, &request);
            if (next(&state) % 32 == 0)
                dg_forgetName(table, request.key, size - DG_HEADER - 4);
            dg_sealKey(&request, view);
            size = makeReply(reply, number, view, versionOf(number, generation));
            table->coming = walk && !changes(generation + 1, number) ? generation + 1 : 0;
            dg_remember(table, &request, message, reply, size, 1000000000, 1);
            if (walk || next(&state) % 256 == 0) generation = goOn(generation, &walk);
            if (i % 32 == 0) dg_sweep(table, 16, 5), release();
        }
        for (int i = 0; i < READERS; i++)
            drained += dg_take(&readers[i]->ring, records, 1 << RING_BITS);
    }
    DG_STORE(&stop, 1, RELAXED);
    for (int i = 0; i < READERS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        lookups += (uintptr_t)result;
        drained += dg_take(&readers[i]->ring, records, 1 << RING_BITS);
        dropped += readers[i]->ring.dropped;
    }
    release();
    printf("writes %lu policies %ld lookups %lu carried %lu records %lu dropped %lu entries %lu "
           "failures %lu\n",
           writes, (long)generation, lookups, carried, drained, dropped, table->entries, failures);
    dg_freeTable(table);
    return failures || !carried;
}
