/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * The table of finished replies: one writer, many readers, no locks.
 *
 * The writer is the reactor thread. It publishes an entry by one release store
 * into a slot and takes it away by one store of NULL, so a reader sees a whole
 * entry or none. What was taken away is retired under the current epoch and
 * freed only when each reader has announced a later epoch or rests
 * (dg_enter(), dg_leave()). Entries never change after they are published, but
 * for the `visited` mark, for `until` and, when they are carried over, for their
 * number.
 *
 * An entry holds for the generation that it was made in and for the later ones
 * up to `until`. The writer raises that before it publishes the generation, so
 * a reader that sees the new client ranges sees which entries hold for them; to
 * readers of the old ones it makes no difference.
 *
 * A key can stand in two buckets of DG_WAYS slots and nowhere else: that is the
 * bound of every probe, and deleting needs no tombstones. A full bucket gives
 * up one of its own; the bounds on entries and octets are kept by a clock hand.
 */
#ifndef DNSGUARD_REPLAY_TABLE_H
#define DNSGUARD_REPLAY_TABLE_H

#include <stdlib.h>
#include <time.h>

#include "core.h"

enum { DG_WAYS = 10, DG_READERS = 65, DG_ENTRY_OVERHEAD = 440, DG_HAND_REACH = 64 };
enum { DG_KEY_END = 5 }; /* octets of a key behind its question */

#define DG_LOAD(at, order) __atomic_load_n(at, __ATOMIC_##order)
#define DG_STORE(at, value, order) __atomic_store_n(at, value, __ATOMIC_##order)
/* For counters with one writer. */
#define DG_ADD(at, value) DG_STORE(at, DG_LOAD(at, RELAXED) + (value), RELAXED)

/* Something retired; the first member of all that readers may hold. */
typedef struct dg_link {
    struct dg_link *next;
    uint64_t epoch;
    uint64_t number; /* of the entry; 0 for anything else */
} dg_link;

/* The key's question is the reply's, whose name is in lower case: whoever asks
 * has it replaced by their own letters anyway. */
typedef struct dg_entry {
    union {
        dg_link link;
        struct { /* the writer's own, until the entry is retired */
            struct dg_entry *nameNext, *namePrevious;
        };
    };
    uint64_t hash;
    int64_t born, expires; /* nanoseconds of the server's clock */
    /* Lives: the lower half is enough to tell them apart. `judged` is the writer's own. */
    uint32_t generation, until, judged;
    uint32_t nameHash, bucket;
    uint16_t replySize, ttlCount;
    uint8_t nameSize;      /* 1 to 255 */
    uint8_t slot, visited;
    uint8_t keyEnd[DG_KEY_END]; /* flags and view number */
    dg_ttl ttls[]; /* then the reply */
} dg_entry;

typedef struct __attribute__((aligned(128))) {
    uint32_t tags[DG_WAYS];
    dg_entry *entries[DG_WAYS];
} dg_bucket;

/* Clients' addresses to view numbers: disjoint ranges by their first address,
 * each sorted and starting at zero. A negative number: not from the store. */
typedef struct {
    dg_link link;
    int64_t generation;
    uint32_t count4, count6;
    uint64_t *starts6; /* pairs, high half first */
    uint32_t *starts4;
    int32_t *views4, *views6;
} dg_views;

/* One query answered, as IReplayBatch promises it. */
typedef struct __attribute__((packed)) {
    int64_t arrived;
    uint64_t number;
    uint32_t took;
    uint16_t size;
    uint8_t transport, family;
    uint8_t address[16];
} dg_record;

/* Records on their way from one thread to the reactor. Full: counted, dropped. */
typedef struct {
    dg_record *records;
    uint64_t mask;
    uint64_t dropped;
    uint64_t base; /* the record that stands first in memory */
    uint64_t head __attribute__((aligned(64)));
    uint64_t tail __attribute__((aligned(64)));
} dg_ring;

typedef struct {
    uint64_t epoch __attribute__((aligned(64))); /* 0: at rest */
    uint64_t hits, misses;
    int used;
    dg_ring ring;
} dg_reader;

/* What belongs to an entry beside the table, by the number of the entry: the
 * place in the lower half, and how often that was taken in the upper one. */
typedef struct {
    void *facts; /* whatever the writer's caller wants with an entry */
    uint32_t life;
    uint32_t next; /* of a free one: free place, plus 1; else the caller's, first 0 */
} dg_number;

typedef struct {
    dg_bucket *buckets;
    uint64_t mask;
    uint64_t key[2], nameKey[2];
    dg_views *views;
    uint64_t epoch;
    int64_t clockOffset; /* server clock minus CLOCK_MONOTONIC, nanoseconds */
    int fullLimit;
    /* From here on the writer's own. */
    dg_entry **names;
    uint64_t nameMask;
    dg_link *retiredFirst, *retiredLast;
    uint64_t entries, octets, maxEntries, maxOctets;
    uint64_t hand, sweepHand, turn;
    int64_t coming; /* a generation that what is stored now holds for, too, or 0 */
    dg_number *numbers;
    uint32_t numbersUsed, numbersRoom, numberFree;
    uint64_t stored, replaced, evicted, expired;
    dg_reader readers[DG_READERS];
} dg_table;

static inline int64_t dg_clock(clockid_t id) {
    struct timespec at;
    clock_gettime(id, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static inline uint8_t *dg_entryReply(dg_entry *entry) {
    return (uint8_t *)(entry->ttls + entry->ttlCount);
}

/* Octets of the key's question, which is name, type and class. */
static inline size_t dg_questionSize(const dg_entry *entry) {
    return (size_t)entry->nameSize + 4;
}

static inline uint64_t dg_entryCost(const dg_entry *entry) {
    return DG_ENTRY_OVERHEAD + entry->replySize + entry->ttlCount * sizeof(dg_ttl);
}

/* ---- readers ------------------------------------------------------------ */

/* Announce that pointers are about to be followed. */
static inline void dg_enter(dg_table *table, dg_reader *reader) {
    DG_STORE(&reader->epoch, DG_LOAD(&table->epoch, ACQUIRE), RELEASE);
    /* Either the writer, after taking something away, sees this epoch, or this
     * reader sees that it is gone. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void dg_leave(dg_reader *reader) { DG_STORE(&reader->epoch, 0, RELEASE); }

static inline uint32_t dg_tag(uint64_t hash) { return (uint32_t)(hash >> 32) | 1; }

static inline uint64_t dg_other(const dg_table *table, uint64_t bucket, uint64_t hash) {
    return (bucket ^ ((hash >> 33) * 0x9e3779b97f4a7c15ULL >> 20)) & table->mask;
}

/* Is this the entry of a sealed key? */
static inline int dg_isFor(dg_entry *entry, uint64_t hash, const dg_request *request) {
    size_t size = dg_questionSize(entry);
    return entry->hash == hash && request->keyLength == size + DG_KEY_END &&
           !memcmp(dg_entryReply(entry) + DG_HEADER, request->key, size) &&
           !memcmp(entry->keyEnd, request->key + size, DG_KEY_END);
}

static inline dg_entry *dg_findIn(dg_bucket *bucket, uint64_t hash, const dg_request *request) {
    uint32_t tag = dg_tag(hash);
    for (int i = 0; i < DG_WAYS; i++) {
        dg_entry *entry;
        if (DG_LOAD(&bucket->tags[i], RELAXED) != tag) continue;
        entry = DG_LOAD(&bucket->entries[i], ACQUIRE);
        if (entry && dg_isFor(entry, hash, request)) return entry;
    }
    return NULL;
}

static inline uint64_t dg_keyHash(const dg_table *table, const dg_request *request) {
    return dg_hash(request->key, request->keyLength, table->key);
}

/* Find what stands under a sealed key, dead or alive. */
static inline dg_entry *dg_find(dg_table *table, const dg_request *request, uint64_t hash) {
    uint64_t first = hash & table->mask;
    dg_entry *entry = dg_findIn(&table->buckets[first], hash, request);
    if (entry) return entry;
    return dg_findIn(&table->buckets[dg_other(table, first, hash)], hash, request);
}

/* The number that an entry is recorded by. */
static inline uint64_t dg_numberOf(const dg_entry *entry) {
    return DG_LOAD(&entry->link.number, RELAXED);
}

/* May this entry answer now? */
static inline int dg_isFresh(const dg_entry *entry, int64_t generation, int64_t now) {
    uint32_t life = (uint32_t)generation - entry->generation;
    return life <= DG_LOAD(&entry->until, RELAXED) - entry->generation && now >= entry->born &&
           now < entry->expires;
}

/* Find the entry that answers a request at `now`, or NULL. */
static inline dg_entry *dg_lookup(dg_table *table, const dg_request *request, uint64_t hash,
                                  int64_t generation, int64_t now) {
    dg_entry *entry = dg_find(table, request, hash);
    if (!entry || !dg_isFresh(entry, generation, now) || entry->replySize > request->limit)
        return NULL;
    if (!DG_LOAD(&entry->visited, RELAXED)) DG_STORE(&entry->visited, 1, RELAXED);
    return entry;
}

/* Write an entry's reply to `out`, which has room for table->fullLimit. */
static inline void dg_replay(uint8_t *out, dg_entry *entry, const uint8_t *message,
                             const dg_request *request, int64_t now) {
    dg_patch(out, dg_entryReply(entry), entry->replySize, entry->ttls, entry->ttlCount, message,
             request->questionEnd, (uint32_t)((now - entry->born) / 1000000000));
}

/* ---- clients ------------------------------------------------------------ */

static inline int32_t dg_view4(const dg_views *views, uint32_t address) {
    uint32_t low = 0, high = views->count4;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (views->starts4[middle] <= address) low = middle; else high = middle;
    }
    return views->views4[low];
}

static inline int32_t dg_view6(const dg_views *views, uint64_t first, uint64_t second) {
    uint32_t low = 0, high = views->count6;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        const uint64_t *start = views->starts6 + 2 * (size_t)middle;
        if (start[0] < first || (start[0] == first && start[1] <= second)) low = middle;
        else high = middle;
    }
    return views->views6[low];
}

/* Find the view of a client by its packed address of 4 or 16 octets, and note
 * family and address in the record. IPv4-mapped addresses are IPv4. */
static inline int32_t dg_place(const dg_views *views, const uint8_t *address, size_t size,
                               dg_record *record) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (size == 16 && !memcmp(address, mapped, 12)) {
        address += 12;
        size = 4;
    }
    memset(record->address, 0, 16);
    memcpy(record->address, address, size);
    record->family = size == 4 ? 4 : 6;
    if (size == 4) return dg_view4(views, dg_u32(address));
    return dg_view6(views, (uint64_t)dg_u32(address) << 32 | dg_u32(address + 4),
                    (uint64_t)dg_u32(address + 8) << 32 | dg_u32(address + 12));
}

static inline size_t dg_viewsSize(uint32_t count4, uint32_t count6) {
    return sizeof(dg_views) + (size_t)count6 * 20 + (size_t)count4 * 8;
}

/* Make room for that many ranges, all of it zero; NULL without memory. */
static inline dg_views *dg_newViews(uint32_t count4, uint32_t count6) {
    dg_views *views = calloc(1, dg_viewsSize(count4, count6));
    if (!views) return NULL;
    views->count4 = count4;
    views->count6 = count6;
    views->starts6 = (uint64_t *)(views + 1);
    views->starts4 = (uint32_t *)(views->starts6 + 2 * (size_t)count6);
    views->views4 = (int32_t *)(views->starts4 + count4);
    views->views6 = views->views4 + count4;
    return views;
}

/* Note how far the server's clock is ahead of CLOCK_MONOTONIC. */
static inline void dg_storeClock(dg_table *table, int64_t offset) {
    DG_STORE(&table->clockOffset, offset, RELAXED);
}

/* Make a copy of some ranges; NULL without memory. */
static inline dg_views *dg_copyViews(const dg_views *views) {
    dg_views *copy = dg_newViews(views->count4, views->count6);
    if (copy)
        memcpy(copy + 1, views + 1, dg_viewsSize(views->count4, views->count6) - sizeof *views);
    return copy;
}

/* ---- records ------------------------------------------------------------ */

/* Append records, all that fit. Called by the ring's one producer. */
static inline void dg_note(dg_ring *ring, const dg_record *records, uint64_t count) {
    uint64_t head = ring->head;
    uint64_t waiting = head - DG_LOAD(&ring->tail, ACQUIRE), room = ring->mask + 1 - waiting;
    /* Begin at the front when all was taken, so that no more memory is touched
     * than records ever waited. Nobody reads this before `head` moves. */
    if (!waiting) DG_STORE(&ring->base, head, RELAXED);
    if (count > room) {
        DG_ADD(&ring->dropped, count - room);
        count = room;
    }
    for (uint64_t i = 0; i < count; i++)
        ring->records[(head - ring->base + i) & ring->mask] = records[i];
    DG_STORE(&ring->head, head + count, RELEASE);
}

/* Take at most `most` records. Called by the reactor alone. */
static inline uint64_t dg_take(dg_ring *ring, dg_record *out, uint64_t most) {
    uint64_t tail = ring->tail;
    uint64_t count = DG_LOAD(&ring->head, ACQUIRE) - tail;
    uint64_t from = tail - DG_LOAD(&ring->base, RELAXED);
    if (count > most) count = most;
    for (uint64_t i = 0; i < count; i++) out[i] = ring->records[(from + i) & ring->mask];
    DG_STORE(&ring->tail, tail + count, RELEASE);
    return count;
}

static inline uint64_t dg_pending(dg_ring *ring) {
    return DG_LOAD(&ring->head, ACQUIRE) - ring->tail;
}

/* Give a reader a ring of 2**bits records; -1 without memory. */
static inline int dg_openRing(dg_ring *ring, unsigned bits) {
    ring->records = calloc((size_t)1 << bits, sizeof *ring->records);
    ring->mask = ((uint64_t)1 << bits) - 1;
    return ring->records ? 0 : -1;
}

#endif
