/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * Replies of one length to one peer, sent as one message that the system cuts
 * into datagrams (UDP_SEGMENT, Linux 4.18). Forwarders and balancers have few
 * sockets, so that most of a batch goes to the same ones; the way through the
 * system, the larger part of what an answer costs, is gone once for all of them.
 *
 * The other side sees ordinary datagrams. Whatever goes wrong with a bundle, its
 * replies are sent one by one instead.
 */
#ifndef DNSGUARD_REPLAY_BUNDLE_H
#define DNSGUARD_REPLAY_BUNDLE_H

#include "peer.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum {
    /* Octets of a reply that goes with others. Segments can't be fragmented, so
     * they have to fit the least MTU of IPv6 (RFC 8200 section 5). A bundle has
     * at most DG_BATCH of them, which is as many as any system takes. */
    DG_SEGMENT_MOST = 1232,
    DG_BUNDLE_MOST = 65507, /* octets of a datagram over IPv4 */
    DG_BUNDLE_SLOTS = 256,
    DG_NO_BUNDLE = 0xff
};

/* The replies of one batch, by where they go. */
typedef struct {
    int off; /* this system or this device doesn't do it */
    uint64_t segmented; /* replies that went with others */
    uint64_t refused;   /* bundles that the system didn't take */
    int refusal;        /* the error that bundles meet: for tests */
    struct mmsghdr messages[DG_BATCH];
    struct iovec places[DG_BATCH];
    uint32_t octets[DG_BATCH];
    uint8_t first[DG_BATCH], last[DG_BATCH], counts[DG_BATCH];
    uint8_t next[DG_BATCH]; /* by reply: the one behind it in its bundle */
    uint8_t slots[DG_BUNDLE_SLOTS];
} dg_bundles;

/* Find out whether the system knows of it: one that doesn't would send a bundle
 * as one long datagram. */
static inline void dg_probeBundles(dg_bundles *bundles, int socket) {
    int size = 0;
    bundles->off = setsockopt(socket, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size) != 0;
}

/* Do replies to these two go to the same address, from the same one? */
static inline int dg_samePeer(const dg_peer *one, const dg_peer *other) {
    if (one->toSize != other->toSize || one->fromFamily != other->fromFamily) return 0;
    if (memcmp(&one->to, &other->to, one->toSize)) return 0;
    if (one->fromFamily == AF_INET)
        return !memcmp(&one->from.in, &other->from.in, sizeof one->from.in);
    if (one->fromFamily == AF_INET6)
        return !memcmp(&one->from.in6, &other->from.in6, sizeof one->from.in6);
    return 1;
}

static inline unsigned dg_bundleSlot(const dg_peer *peer, size_t size) {
    /* Both kinds of address have their port in the same place. */
    unsigned port = peer->to.in.sin_port;
    return (port ^ port >> 8 ^ (unsigned)size * 37) % DG_BUNDLE_SLOTS;
}

/* Sort replies into bundles, in the order of their first ones. Returns how many
 * there are: as many as replies when no two go together. */
static inline unsigned dg_gather(dg_bundles *bundles, const struct mmsghdr *replies,
                                 unsigned count) {
    unsigned made = 0;
    memset(bundles->slots, DG_NO_BUNDLE, sizeof bundles->slots);
    for (unsigned i = 0; i < count; i++) {
        /* A message's name is the first member of its peer. */
        const dg_peer *peer = replies[i].msg_hdr.msg_name;
        size_t size = replies[i].msg_hdr.msg_iov->iov_len;
        uint8_t *slot = &bundles->slots[dg_bundleSlot(peer, size)];
        if (*slot != DG_NO_BUNDLE) {
            unsigned other = bundles->first[*slot];
            if (replies[other].msg_hdr.msg_iov->iov_len == size &&
                bundles->octets[*slot] + size <= DG_BUNDLE_MOST &&
                dg_samePeer(peer, replies[other].msg_hdr.msg_name)) {
                bundles->next[bundles->last[*slot]] = (uint8_t)i;
                bundles->last[*slot] = (uint8_t)i;
                bundles->counts[*slot]++;
                bundles->octets[*slot] += (uint32_t)size;
                continue;
            }
        }
        if (size <= DG_SEGMENT_MOST) *slot = (uint8_t)made;
        bundles->first[made] = bundles->last[made] = (uint8_t)i;
        bundles->counts[made] = 1;
        bundles->octets[made++] = (uint32_t)size;
    }
    return made;
}

/* Have the system cut a message, whose control data, if any, begins at
 * `control`. */
static inline void dg_writeSegment(struct msghdr *message, uint8_t *control, uint16_t size) {
    struct cmsghdr *part = (struct cmsghdr *)(control + message->msg_controllen);
    memset(part, 0, CMSG_SPACE(sizeof size));
    part->cmsg_level = IPPROTO_UDP;
    part->cmsg_type = UDP_SEGMENT;
    part->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(part), &size, sizeof size);
    message->msg_control = control;
    message->msg_controllen += CMSG_SPACE(sizeof size);
}

/* Make a message of each of `made` bundles. The replies stay as they are. */
static inline void dg_tie(dg_bundles *bundles, const struct mmsghdr *replies, unsigned made,
                          uint8_t (*control)[DG_CONTROL]) {
    struct iovec *place = bundles->places;
    for (unsigned m = 0; m < made; m++) {
        unsigned i = bundles->first[m];
        struct msghdr *message = &bundles->messages[m].msg_hdr;
        *message = replies[i].msg_hdr;
        if (bundles->counts[m] == 1) continue;
        dg_writeSegment(message, control[i], (uint16_t)message->msg_iov->iov_len);
        message->msg_iov = place;
        message->msg_iovlen = bundles->counts[m];
        for (unsigned n = bundles->counts[m]; n; n--, i = bundles->next[i])
            *place++ = *replies[i].msg_hdr.msg_iov;
    }
}

/* Send the replies of a bundle one by one. Returns how many are done with. */
static inline unsigned dg_untie(dg_bundles *bundles, int socket, struct mmsghdr *replies,
                                unsigned m, int flags, uint64_t *unsent) {
    unsigned i = bundles->first[m], done = 0;
    for (; done < bundles->counts[m]; done++, i = bundles->next[i])
        if (!dg_send(socket, &replies[i], 1, flags, unsent)) break;
    return done;
}

/* Give a bundle to the system, or as many as it takes. */
static inline int dg_sendSome(dg_bundles *bundles, int socket, unsigned m, unsigned made,
                              int flags) {
    int refusal = DG_LOAD(&bundles->refusal, RELAXED);
    if (refusal && bundles->counts[m] > 1) {
        errno = refusal;
        return -1;
    }
    return sendmmsg(socket, bundles->messages + m, refusal ? 1 : made - m, flags);
}

/* Send replies, those that go the same way together. `control` has room behind
 * the control data of each. Returns how many are done with: less than all when
 * the socket's buffer is full. */
static inline unsigned dg_sendBundled(dg_bundles *bundles, int socket, struct mmsghdr *replies,
                                      unsigned count, uint8_t (*control)[DG_CONTROL], int flags,
                                      uint64_t *unsent) {
    unsigned made = bundles->off ? count : dg_gather(bundles, replies, count), done = 0, m = 0;
    if (made == count) return dg_send(socket, replies, count, flags, unsent);
    dg_tie(bundles, replies, made, control);
    while (m < made) {
        int result = dg_sendSome(bundles, socket, m, made, flags);
        for (; result > 0; result--, m++) {
            done += bundles->counts[m];
            if (bundles->counts[m] > 1) DG_ADD(&bundles->segmented, bundles->counts[m]);
        }
        if (result == 0 || errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) break;
        if (bundles->counts[m] > 1) {
            unsigned alone;
            /* The device can't, or the system: so it is with the next ones. */
            if (errno == EIO || errno == EOPNOTSUPP || errno == ENOPROTOOPT)
                DG_STORE(&bundles->off, 1, RELAXED);
            DG_ADD(&bundles->refused, 1);
            alone = dg_untie(bundles, socket, replies, m, flags, unsent);
            done += alone;
            if (alone < bundles->counts[m]) break;
        } else {
            ++*unsent;
            done++;
        }
        m++;
    }
    return done;
}

#endif
