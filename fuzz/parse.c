/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * Coverage-guided fuzzing of the compiled replay path: octets that clients send
 * (core.h), replies that are kept and patched, and the table they are kept in.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
 *         -I dnsguard/replay fuzz/parse.c -o parse
 *     ./parse tests/data/replay
 *
 * An input is a list of steps: one octet that says what to do, two for a size,
 * and that many octets. A request is copied to memory of exactly its size, so
 * that one octet read too much is seen.
 */
#include <assert.h>

#include "stream.h"
#include "writer.h"

enum { STEPS = 64, ROOM = 3 * (DG_LIMIT_MAX + DG_STREAM_PREFIX) };

/* What must be true of any eligible request. */
static void checkRequest(const uint8_t *message, size_t size, const dg_request *request) {
    assert(request->questionEnd >= DG_HEADER + 5 && request->questionEnd <= size);
    assert(request->keyLength == request->questionEnd - DG_HEADER + 1);
    assert(request->keyLength <= DG_KEY_MAX - 4);
    assert(request->limit >= DG_LEAST_LIMIT && request->limit <= DG_LIMIT_MAX);
    assert(!(message[2] & 0x80));
    for (int i = 0; i < request->keyLength - 1; i++)
        assert(request->key[i] == dg_lower(message[DG_HEADER + i]) || i >= request->keyLength - 5);
}

/* A reply to a request, with the rest of the step as its records. */
static size_t makeReply(uint8_t *out, const uint8_t *request, size_t questionEnd,
                        const uint8_t *rest, size_t size) {
    memcpy(out, request, questionEnd);
    out[2] |= 0x80;
    if (size >= 6) memcpy(out + 6, rest, 6), rest += 6, size -= 6;
    if (size > DG_LIMIT_MAX - questionEnd) size = DG_LIMIT_MAX - questionEnd;
    memcpy(out + questionEnd, rest, size);
    return questionEnd + size;
}

/* What must be true of a replayed reply: nothing but id, letter case and TTLs
 * differs, and TTLs only get less. */
static void checkReplay(const uint8_t *out, dg_entry *entry, const uint8_t *message) {
    const uint8_t *kept = dg_entryReply(entry);
    uint8_t copy[DG_LIMIT_MAX];
    memcpy(copy, out, entry->replySize);
    assert(copy[0] == message[0] && copy[1] == message[1]);
    memcpy(copy, kept, 2);
    for (int i = 0; i < entry->ttlCount; i++) {
        uint8_t *at = copy + entry->ttls[i].offset;
        assert(dg_u32(at) <= entry->ttls[i].seconds);
        memcpy(at, kept + entry->ttls[i].offset, 4);
    }
    for (int i = 0; i < entry->replySize; i++) assert(dg_lower(copy[i]) == dg_lower(kept[i]));
}

/* Answer octets as if they were a stream, from memory of exactly their size and
 * into memory of exactly what there is room for. */
static dg_talk talkTo(dg_table *table, const uint8_t *octets, size_t size, uint8_t *out,
                      int64_t now) {
    static const uint8_t client[4] = {192, 0, 2, 1};
    dg_talk talk = dg_answerStream(table, &table->readers[0], octets, size, client,
                                   sizeof client, out, ROOM, now);
    dg_record records[8];
    size_t read = 0, written = 0;
    assert(talk.read <= size && talk.written <= ROOM && talk.misses <= 1);
    for (uint64_t i = 0; i < talk.hits; i++) {
        assert(!memcmp(octets + read + 2, out + written + 2, 2));
        read += DG_STREAM_PREFIX + dg_u16(octets + read);
        written += DG_STREAM_PREFIX + dg_u16(out + written);
    }
    assert(read == talk.read && written == talk.written);
    while (dg_take(&table->readers[0].ring, records, 8)) assert(records[0].transport == 1);
    return talk;
}

/* An entry is what the same request gets over a stream as well, twice if it asks
 * twice; what follows is neither read nor answered. */
static void checkStream(dg_table *table, dg_entry *entry, const uint8_t *message, size_t size,
                        const uint8_t *reply, int64_t now) {
    size_t one = DG_STREAM_PREFIX + size;
    uint8_t *octets = malloc(2 * one + 1), *out = malloc(ROOM);
    dg_talk talk;
    for (int i = 0; i < 2; i++) {
        octets[i * one] = (uint8_t)(size >> 8);
        octets[i * one + 1] = (uint8_t)size;
        memcpy(octets + i * one + DG_STREAM_PREFIX, message, size);
    }
    octets[2 * one] = 0;
    talk = talkTo(table, octets, 2 * one + 1, out, now);
    assert(talk.hits == 2 && talk.read == 2 * one && !talk.misses);
    assert(talk.written == 2 * (DG_STREAM_PREFIX + (size_t)entry->replySize));
    assert(!memcmp(out + DG_STREAM_PREFIX, reply, entry->replySize));
    free(octets);
    free(out);
}

/* Let another policy come, under which some entries live on: none, all, or every
 * other one; or prepare for one that doesn't come. */
static void changePolicy(dg_table *table, unsigned kind, int64_t now) {
    dg_views *views = dg_copyViews(table->views);
    int64_t coming = table->views->generation + 1;
    uint64_t walk = 0, alive = 0, left = 0;
    while (kind && walk < dg_walkEnd(table)) {
        uint64_t slots = 7;
        dg_entry *entry;
        while ((entry = dg_walkOn(table, &walk, &slots, coming, now))) {
            assert(!dg_isDead(table, entry, now));
            if (kind == 2 && entry->hash & 1) continue;
            dg_ratify(entry, coming);
            alive++;
        }
    }
    views->generation = kind == 3 ? coming + 1 : coming;
    dg_adopt(table, views);
    for (uint64_t i = 0; i < (table->mask + 1) * DG_WAYS; i++) {
        dg_entry *entry = table->buckets[i / DG_WAYS].entries[i % DG_WAYS];
        if (entry && !dg_isDead(table, entry, now)) left++;
    }
    assert(left == (kind == 3 ? 0 : alive));
}

static void step(dg_table *table, uint8_t action, const uint8_t *octets, size_t size,
                 int64_t *now) {
    uint8_t *message = malloc(size ? size : 1), reply[2 * DG_LIMIT_MAX];
    dg_request request;
    dg_entry *entry;
    size_t first = size;
    memcpy(message, octets, size);
    if (action & 1 && size > 2) first = 1 + octets[0] % (size - 1);
    if (dg_readRequest(message, first, table->fullLimit, &request)) {
        checkRequest(message, first, &request);
        dg_sealKey(&request, action >> 6);
        if (action & 1) {
            size_t made = makeReply(reply, message, request.questionEnd, octets + first,
                                    size - first);
            dg_remember(table, &request, message, reply, made,
                        (int64_t)(1 + (action >> 1 & 7)) * 1000000000, *now);
        }
        entry = dg_lookup(table, &request, dg_keyHash(table, &request), table->views->generation,
                          *now);
        if (entry) {
            uint8_t *out = malloc((size_t)table->fullLimit);
            dg_replay(out, entry, message, &request, *now);
            checkReplay(out, entry, message);
            /* The client that streams are from sees the view with the number 0. */
            if (!(action >> 6)) checkStream(table, entry, message, first, out, *now);
            free(out);
        }
        if (action & 8)
            dg_forgetName(table, request.key, (size_t)request.questionEnd - DG_HEADER - 4);
    }
    if (action & 4) {
        uint8_t *out = malloc(ROOM);
        talkTo(table, message, size, out, *now);
        free(out);
    }
    free(message);
    *now += (int64_t)(action & 0x30) << 25;
    if ((action & 0x3e) == 0x3e) changePolicy(table, action >> 6, *now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint64_t keys[4] = {1, 2, 3, 4};
    dg_table *table = dg_newTable(1 + (size ? data[0] % 16 : 0), 1 << 16, 1232, keys);
    int64_t now = 1000000000;
    dg_link *link;
    if (!dg_join(table, 4)) abort();
    for (int i = 0; i < STEPS && size >= 3; i++) {
        uint8_t action = data[0];
        size_t length = (size_t)dg_u16(data + 1) % 1500;
        data += 3;
        size -= 3;
        if (length > size) length = size;
        step(table, action, data, length, &now);
        data += length;
        size -= length;
        while ((link = dg_reclaim(table, dg_leastEpoch(table)))) free(link);
        dg_sweep(table, 4, now);
        assert(table->entries <= table->maxEntries);
    }
    dg_freeTable(table);
    return 0;
}
