/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * What the one writer does to the table of table.h: make, publish, take away,
 * retire, free. Reactor thread only.
 */
#ifndef DNSGUARD_REPLAY_WRITER_H
#define DNSGUARD_REPLAY_WRITER_H

#include "table.h"

/* The least power of two that is no less. */
static inline uint64_t dg_powerOfTwo(uint64_t least) {
    uint64_t power = 1;
    while (power < least) power <<= 1;
    return power;
}

/* Make a table; NULL without memory. `keys` are 4 random words. */
static inline dg_table *dg_newTable(uint64_t maxEntries, uint64_t maxOctets, int fullLimit,
                                    const uint64_t keys[4]) {
    dg_table *table = NULL;
    uint64_t buckets = dg_powerOfTwo((maxEntries + DG_WAYS - 3) / (DG_WAYS - 2));
    if (posix_memalign((void **)&table, 64, sizeof *table)) return NULL;
    memset(table, 0, sizeof *table);
    table->mask = buckets - 1;
    table->nameMask = dg_powerOfTwo(maxEntries) - 1;
    table->names = calloc(table->nameMask + 1, sizeof *table->names);
    table->views = dg_newViews(1, 1);
    if (posix_memalign((void **)&table->buckets, 128, buckets * sizeof(dg_bucket)))
        table->buckets = NULL;
    if (!table->names || !table->views || !table->buckets) {
        free(table->names);
        free(table->views);
        free(table->buckets);
        free(table);
        return NULL;
    }
    memset(table->buckets, 0, buckets * sizeof(dg_bucket));
    table->maxEntries = maxEntries;
    table->maxOctets = maxOctets;
    table->fullLimit = fullLimit;
    memcpy(table->key, keys, 16);
    memcpy(table->nameKey, keys + 2, 16);
    table->epoch = 1;
    return table;
}

/* ---- retiring ----------------------------------------------------------- */

/* Queue something for freeing that new readers can't find any more. */
static inline void dg_retire(dg_table *table, dg_link *link) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    link->epoch = table->epoch;
    link->next = NULL;
    if (table->retiredLast) table->retiredLast->next = link;
    else table->retiredFirst = link;
    table->retiredLast = link;
    DG_STORE(&table->epoch, table->epoch + 1, RELEASE);
}

/* The least epoch that a reader is in; UINT64_MAX when all rest. */
static inline uint64_t dg_leastEpoch(dg_table *table) {
    uint64_t least = UINT64_MAX;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (int i = 0; i < DG_READERS; i++) {
        uint64_t epoch = DG_LOAD(&table->readers[i].epoch, ACQUIRE);
        if (epoch && epoch < least) least = epoch;
    }
    return least;
}

/* Take the longest retired thing that no reader below `least` can hold, to be
 * freed by the caller; NULL when there is none. */
static inline dg_link *dg_reclaim(dg_table *table, uint64_t least) {
    dg_link *link = table->retiredFirst;
    if (!link || link->epoch >= least) return NULL;
    table->retiredFirst = link->next;
    if (!table->retiredFirst) table->retiredLast = NULL;
    return link;
}

/* ---- numbers ------------------------------------------------------------ */

/* Give out a number that no entry has; 0 without memory. */
static inline uint64_t dg_takeNumber(dg_table *table) {
    uint32_t place;
    if (table->numberFree) {
        place = table->numberFree - 1;
        table->numberFree = table->numbers[place].next;
    } else {
        if (table->numbersUsed == table->numbersRoom) {
            uint32_t room = table->numbersRoom ? table->numbersRoom * 2 : 1024;
            void *more = realloc(table->numbers, room * sizeof *table->numbers);
            if (!more) return 0;
            table->numbers = more;
            table->numbersRoom = room;
        }
        place = table->numbersUsed++;
        table->numbers[place].life = 0;
    }
    table->numbers[place].facts = NULL;
    table->numbers[place].next = 0;
    return (uint64_t)++table->numbers[place].life << 32 | place;
}

/* Where the facts of the entry with a number are. */
static inline void **dg_factsOf(dg_table *table, uint64_t number) {
    return &table->numbers[(uint32_t)number].facts;
}

/* Take a number back: nobody will ask for it any more. */
static inline void dg_giveNumber(dg_table *table, uint64_t number) {
    uint32_t place = (uint32_t)number;
    table->numbers[place].facts = NULL;
    table->numbers[place].next = table->numberFree;
    table->numberFree = place + 1;
}

/* ---- entries ------------------------------------------------------------ */

static inline void dg_joinName(dg_table *table, dg_entry *entry) {
    dg_entry **first = &table->names[entry->nameHash & table->nameMask];
    entry->namePrevious = NULL;
    entry->nameNext = *first;
    if (*first) (*first)->namePrevious = entry;
    *first = entry;
}

static inline void dg_leaveName(dg_table *table, dg_entry *entry) {
    if (entry->nameNext) entry->nameNext->namePrevious = entry->namePrevious;
    if (entry->namePrevious) entry->namePrevious->nameNext = entry->nameNext;
    else table->names[entry->nameHash & table->nameMask] = entry->nameNext;
}

/* Take an entry away. */
static inline void dg_remove(dg_table *table, dg_entry *entry) {
    dg_bucket *bucket = &table->buckets[entry->bucket];
    DG_STORE(&bucket->entries[entry->slot], NULL, RELEASE);
    DG_STORE(&bucket->tags[entry->slot], 0, RELAXED);
    dg_leaveName(table, entry);
    table->entries--;
    table->octets -= dg_entryCost(entry);
    dg_retire(table, &entry->link);
}

static inline int dg_isDead(const dg_table *table, const dg_entry *entry, int64_t now) {
    return !dg_isFresh(entry, table->views->generation, now);
}

/* Free a slot in one of two full buckets: one that is dead, else one not
 * visited since the last look, else the next in turn. */
static inline void dg_makeRoomIn(dg_table *table, uint64_t first, uint64_t second, int64_t now) {
    dg_bucket *pair[2] = {&table->buckets[first], &table->buckets[second]};
    dg_entry *victim = NULL;
    for (int i = 0; i < 2 * DG_WAYS; i++) {
        dg_entry *entry = pair[i / DG_WAYS]->entries[i % DG_WAYS];
        if (dg_isDead(table, entry, now)) {
            victim = entry;
            break;
        }
        if (!victim && !DG_LOAD(&entry->visited, RELAXED)) victim = entry;
    }
    if (!victim) {
        victim = pair[0]->entries[table->turn++ % DG_WAYS];
        for (int i = 0; i < 2 * DG_WAYS; i++)
            DG_STORE(&pair[i / DG_WAYS]->entries[i % DG_WAYS]->visited, 0, RELAXED);
    }
    table->evicted++;
    dg_remove(table, victim);
}

static inline int dg_freeSlots(const dg_bucket *bucket) {
    int count = 0;
    for (int i = 0; i < DG_WAYS; i++) count += !bucket->entries[i];
    return count;
}

/* Publish an entry in the emptier of its two buckets. */
static inline void dg_publish(dg_table *table, dg_entry *entry, int64_t now) {
    uint64_t first = entry->hash & table->mask, second = dg_other(table, first, entry->hash);
    int free1 = dg_freeSlots(&table->buckets[first]);
    int free2 = dg_freeSlots(&table->buckets[second]);
    dg_bucket *bucket;
    if (!free1 && !free2) {
        dg_makeRoomIn(table, first, second, now);
        free1 = dg_freeSlots(&table->buckets[first]);
        free2 = dg_freeSlots(&table->buckets[second]);
    }
    entry->bucket = (uint32_t)(free2 > free1 ? second : first);
    bucket = &table->buckets[entry->bucket];
    entry->slot = 0;
    while (bucket->entries[entry->slot]) entry->slot++;
    dg_joinName(table, entry);
    table->entries++;
    table->octets += dg_entryCost(entry);
    DG_STORE(&bucket->tags[entry->slot], dg_tag(entry->hash), RELAXED);
    DG_STORE(&bucket->entries[entry->slot], entry, RELEASE);
}

static inline int dg_isOver(const dg_table *table) {
    return table->entries > table->maxEntries || table->octets > table->maxOctets;
}

/* Look at some slots further on and take away what is dead there. */
static inline void dg_sweep(dg_table *table, uint64_t most, int64_t now) {
    uint64_t slots = (table->mask + 1) * DG_WAYS;
    if (most > slots) most = slots;
    while (most--) {
        uint64_t place = table->sweepHand++ % slots;
        dg_entry *entry = table->buckets[place / DG_WAYS].entries[place % DG_WAYS];
        if (entry && dg_isDead(table, entry, now)) {
            table->expired++;
            dg_remove(table, entry);
        }
    }
}

/* Evict until the bounds hold: a clock hand with second chances, which end
 * after DG_HAND_REACH of them. `spared` was just stored. */
static inline void dg_evict(dg_table *table, const dg_entry *spared, int64_t now) {
    uint64_t slots = (table->mask + 1) * DG_WAYS;
    int chances = 0;
    while (dg_isOver(table) && table->entries > 1) {
        uint64_t place = table->hand++ % slots;
        dg_entry *entry = table->buckets[place / DG_WAYS].entries[place % DG_WAYS];
        if (!entry || entry == spared) continue;
        if (!dg_isDead(table, entry, now) && DG_LOAD(&entry->visited, RELAXED) &&
            chances++ < DG_HAND_REACH) {
            DG_STORE(&entry->visited, 0, RELAXED);
            continue;
        }
        table->evicted++;
        dg_remove(table, entry);
    }
}

/* Keep a reply under a sealed key for `lifetime` nanoseconds at most. Returns
 * the entry's number, or 0 when it isn't worth keeping or there's no memory. */
static inline uint64_t dg_remember(dg_table *table, const dg_request *request,
                                   const uint8_t *message, const uint8_t *reply, size_t size,
                                   int64_t lifetime, int64_t now) {
    dg_ttl ttls[DG_TTLS_MAX];
    dg_entry *entry, *old;
    size_t nameSize;
    int count;
    if (size > request->limit || lifetime <= 0) return 0;
    count = dg_readReply(reply, size, message, request->questionEnd, ttls);
    if (count < 0) return 0;
    for (int i = 0; i < count; i++) {
        /* No record outlives its TTL. */
        int64_t least = (int64_t)ttls[i].seconds * 1000000000;
        if (least < lifetime) lifetime = least;
    }
    if (!lifetime) return 0;
    entry = malloc(sizeof *entry + (size_t)count * sizeof *ttls + size);
    if (!entry) return 0;
    memset(entry, 0, sizeof *entry);
    nameSize = (size_t)request->questionEnd - DG_HEADER - 4;
    if (!(entry->link.number = dg_takeNumber(table))) {
        free(entry);
        return 0;
    }
    entry->hash = dg_keyHash(table, request);
    entry->nameHash = (uint32_t)dg_hash(request->key, nameSize, table->nameKey);
    entry->born = now;
    entry->expires = now + lifetime;
    entry->generation = (uint32_t)table->views->generation;
    entry->until = table->coming ? (uint32_t)table->coming : entry->generation;
    entry->judged = (uint32_t)table->coming;
    entry->nameSize = (uint8_t)nameSize;
    entry->replySize = (uint16_t)size;
    entry->ttlCount = (uint16_t)count;
    memcpy(entry->ttls, ttls, (size_t)count * sizeof *ttls);
    memcpy(entry->keyEnd, request->key + nameSize + 4, DG_KEY_END);
    memcpy(dg_entryReply(entry), reply, size);
    memcpy(dg_entryReply(entry) + DG_HEADER, request->key, nameSize + 4);
    old = dg_find(table, request, entry->hash);
    if (old) {
        table->replaced++;
        dg_remove(table, old);
    }
    table->stored++;
    dg_publish(table, entry, now);
    dg_evict(table, entry, now);
    return entry->link.number;
}

/* Take all entries for a lower-cased name away. */
static inline void dg_forgetName(dg_table *table, const uint8_t *name, size_t size) {
    uint32_t hash = (uint32_t)dg_hash(name, size, table->nameKey);
    dg_entry *next, *entry = table->names[hash & table->nameMask];
    for (; entry; entry = next) {
        next = entry->nameNext;
        if (entry->nameHash == hash && entry->nameSize == size &&
            !memcmp(dg_entryReply(entry) + DG_HEADER, name, size))
            dg_remove(table, entry);
    }
}

/* ---- generations -------------------------------------------------------- */

/* Go on through all entries to one that nobody has judged for the generation
 * `coming`, which is marked as judged. `walk` begins at 0; `most` is how many
 * slots may still be looked at. In a first round only those that were asked for
 * are found, as there may be no time for the others. NULL: there is none so far,
 * or, when `walk` is dg_walkEnd(), no more. */
static inline dg_entry *dg_walkOn(dg_table *table, uint64_t *walk, uint64_t *most,
                                  int64_t coming, int64_t now) {
    uint64_t slots = (table->mask + 1) * DG_WAYS;
    for (; *most && *walk < 2 * slots; --*most) {
        uint64_t place = *walk % slots;
        int first = (*walk)++ < slots;
        dg_entry *entry = table->buckets[place / DG_WAYS].entries[place % DG_WAYS];
        if (!entry || entry->judged == (uint32_t)coming || dg_isDead(table, entry, now)) continue;
        if (first && !DG_LOAD(&entry->visited, RELAXED)) continue;
        entry->judged = (uint32_t)coming;
        return entry;
    }
    return NULL;
}

/* Where dg_walkOn() ends. */
static inline uint64_t dg_walkEnd(const dg_table *table) {
    return 2 * (table->mask + 1) * DG_WAYS;
}

/* Let an entry hold for a generation to come as well. */
static inline void dg_ratify(dg_entry *entry, int64_t coming) {
    DG_STORE(&entry->until, (uint32_t)coming, RELAXED);
}

/* Give an entry another number, for which there are no facts yet: what is recorded
 * of it from now on isn't what was recorded before. Its old number departs like that
 * of an entry taken away. Returns the new one, or 0 without memory. */
static inline uint64_t dg_renumber(dg_table *table, dg_entry *entry) {
    dg_entry *before = calloc(1, sizeof *before);
    uint64_t number = before ? dg_takeNumber(table) : 0;
    if (!number) {
        free(before);
        return 0;
    }
    before->link.number = entry->link.number;
    DG_STORE(&entry->link.number, number, RELAXED);
    dg_retire(table, &before->link);
    return number;
}

/* Let readers see other views, and with them another generation: all entries that
 * don't hold for it are dead at once, and sweeping frees them bit by bit. */
static inline void dg_adopt(dg_table *table, dg_views *views) {
    dg_views *old = table->views;
    DG_STORE(&table->views, views, RELEASE);
    dg_retire(table, &old->link);
}

/* Take a free reader, or NULL when all are taken. */
static inline dg_reader *dg_join(dg_table *table, unsigned ringBits) {
    for (int i = 0; i < DG_READERS; i++) {
        dg_reader *reader = &table->readers[i];
        if (reader->used) continue;
        if (!reader->ring.records && dg_openRing(&reader->ring, ringBits)) return NULL;
        reader->used = 1;
        return reader;
    }
    return NULL;
}

/* Give a reader's place back; what is in its ring is still drained. */
static inline void dg_quit(dg_reader *reader) { reader->used = 0; }

/* Free everything. No reader may be left. */
static inline void dg_freeTable(dg_table *table) {
    dg_link *link;
    for (uint64_t i = 0; i <= table->mask; i++)
        for (int j = 0; j < DG_WAYS; j++) free(table->buckets[i].entries[j]);
    while ((link = dg_reclaim(table, UINT64_MAX))) free(link);
    for (int i = 0; i < DG_READERS; i++) free(table->readers[i].ring.records);
    free(table->views);
    free(table->names);
    free(table->buckets);
    free(table->numbers);
    free(table);
}

#endif
