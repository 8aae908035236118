/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * Who sent a datagram and which of our addresses it was sent to; datagrams that
 * wait for the reactor; and the replies that it sends. Linux.
 */
#ifndef DNSGUARD_REPLAY_PEER_H
#define DNSGUARD_REPLAY_PEER_H

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
    /* Room for an address of either family, and for the size of segments. */
    DG_CONTROL = CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))
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
    memset(control, 0, CMSG_SPACE(sizeof peer->from.in6));
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

#endif
