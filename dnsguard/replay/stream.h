/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * Messages of a stream, each with its length before it (RFC 1035 section 4.2.2):
 * those that the table can answer, all in one go. The reactor's thread alone,
 * which is the writer of the table and so needs no epoch to read it.
 */
#ifndef DNSGUARD_REPLAY_STREAM_H
#define DNSGUARD_REPLAY_STREAM_H

#include "table.h"

enum { DG_STREAM_BATCH = 64, DG_STREAM_PREFIX = 2 };

typedef struct {
    size_t read, written; /* octets of the stream, and of replies */
    uint64_t hits, misses;
} dg_talk;

/* Leave the records of some replies. */
static inline void dg_noteStream(dg_reader *reader, dg_record *records, unsigned count,
                                 int64_t arrived, int64_t started) {
    int64_t took = dg_clock(CLOCK_MONOTONIC) - started;
    for (unsigned i = 0; i < count; i++) {
        records[i].arrived = arrived;
        records[i].took = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
        records[i].transport = 1;
    }
    dg_note(&reader->ring, records, count);
}

/* Answer the messages at the beginning of `octets`, until one isn't whole, isn't
 * in the table (that is a miss), or the replies may not fit into `room` any more.
 * `now` is the server's clock. */
static inline dg_talk dg_answerStream(dg_table *table, dg_reader *reader, const uint8_t *octets,
                                      size_t size, const uint8_t *address, size_t addressSize,
                                      uint8_t *out, size_t room, int64_t now) {
    int64_t arrived = dg_clock(CLOCK_REALTIME), started = dg_clock(CLOCK_MONOTONIC);
    dg_record records[DG_STREAM_BATCH];
    dg_talk talk = {0, 0, 0, 0};
    dg_request request;
    unsigned noted = 0;
    int32_t view = -1;
    if (addressSize == 4 || addressSize == 16)
        view = dg_place(table->views, address, addressSize, &records[0]);
    while (room - talk.written >= (size_t)table->fullLimit + DG_STREAM_PREFIX) {
        const uint8_t *message = octets + talk.read + DG_STREAM_PREFIX;
        uint8_t *reply = out + talk.written;
        dg_entry *entry = NULL;
        size_t length;
        if (size - talk.read < DG_STREAM_PREFIX) break;
        length = dg_u16(octets + talk.read);
        if (size - talk.read - DG_STREAM_PREFIX < length) break;
        if (view >= 0 && dg_readRequest(message, length, table->fullLimit, &request)) {
            dg_sealKey(&request, (uint32_t)view);
            entry = dg_lookup(table, &request, dg_keyHash(table, &request),
                              table->views->generation, now);
        }
        if (!entry) {
            talk.misses++;
            break;
        }
        reply[0] = (uint8_t)(entry->replySize >> 8);
        reply[1] = (uint8_t)entry->replySize;
        dg_replay(reply + DG_STREAM_PREFIX, entry, message, &request, now);
        if (noted) {
            records[noted].family = records[0].family;
            memcpy(records[noted].address, records[0].address, sizeof records[0].address);
        }
        records[noted].number = dg_numberOf(entry);
        records[noted].size = entry->replySize;
        talk.hits++;
        talk.read += DG_STREAM_PREFIX + length;
        talk.written += DG_STREAM_PREFIX + (size_t)entry->replySize;
        if (++noted == DG_STREAM_BATCH) {
            dg_noteStream(reader, records, noted, arrived, started);
            noted = 0;
        }
    }
    if (noted) dg_noteStream(reader, records, noted, arrived, started);
    DG_ADD(&reader->hits, talk.hits);
    DG_ADD(&reader->misses, talk.misses);
    return talk;
}

#endif
