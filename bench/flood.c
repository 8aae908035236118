/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * A DNS load generator that checks each answer. It keeps a window of questions
 * under way (or, with -q, sends at a rate), from as many sockets as asked for.
 *
 *     flood -p PORT [-a ADDRESS] [-n NAMES] [-t SECONDS] [-w WINDOW] [-s SOCKETS]
 *           [-e PERCENT] [-b PERCENT] [-u] [-m PERCENT] [-q RATE] [-r QUESTIONS]
 *           [-f FIRST] [-g] [-i]
 *
 *     -n  so many different names, asked in turn        -e  with EDNS, in percent
 *     -u  each name once                                -b  blocked names, in percent
 *     -m  each name once, in percent of questions       -f  number of the first such name
 *     -r  a new socket, and source port, after so many questions
 *     -g  give the system questions of one length together
 *     -i  print as well, for each tenth of a second in which questions were sent,
 *         how many were answered and lost, and their p99 in microseconds
 *
 * It must cost less than what it measures. So names and right answers are worked
 * out before, and what is under way fits into the caches. A server that is faster
 * than that needs -g: questions of one length that leave a socket at one time are one
 * message then, which the system cuts (UDP_SEGMENT). The server gets datagrams of
 * their own in any case, but those cost it more to receive than such as were sent
 * alone, a slow server more than a fast one: compare without. Answers are always
 * taken one by one (this doesn't ask for UDP_GRO).
 *
 * Right is an answer to the very question (id, letter case, OPT only if asked)
 * with the address that load.h says; for a blocked name NXDOMAIN, no address or
 * 0.0.0.0. Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { BATCH = 64, SOCKETS = 512, ROOM = 1536, QUESTION = 96, NAME = 40, BUCKETS = 40000 };
enum { PARTS = 1200, PART_BUCKETS = 801, PART_WIDTH = 50 };

/* A name that is asked for again and again, and the right answer. */
typedef struct {
    uint32_t address;
    uint8_t size;
    uint8_t octets[NAME - 5];
} name;

typedef struct {
    double sent; /* 0: not under way */
    uint32_t address;
    uint16_t id, size;
    uint8_t edns, blocked;
    uint8_t octets[QUESTION];
} question;

typedef struct {
    int socket;
    int underWay;
    uint16_t next;
    unsigned long asked;
    question *questions; /* by the lower bits of their ids */
} asker;

static struct {
    int port, names, window, sockets, edns, blocked, once, onceShare, renew, together;
    unsigned long first;
    double seconds, rate;
    const char *address;
} options = {5300, 10000, 256, 4, 0, 0, 0, 0, 0, 0, 0, 3.0, 0.0, "127.0.0.1"};

static asker askers[SOCKETS];
static name *hosts, *ads;
static unsigned slots; /* questions of a socket that may be under way, a power of two */
static struct sockaddr_in server;
static unsigned long sent, answered, lost, wrong, turn, fresh;
static unsigned long histogram[BUCKETS + 1]; /* of microseconds */
static double waited, began;
/* By tenths of a second in which questions were sent. */
static uint32_t (*parts)[PART_BUCKETS], partLost[PARTS];
static struct rusage usage; /* of the load, without its end */

static name *names(const char *kind, int count) {
    name *made = calloc((size_t)count, sizeof *made);
    for (int i = 0; made && i < count; i++) {
        made[i].size = (uint8_t)load_name(made[i].octets, kind, (unsigned long)i);
        made[i].address = load_address(made[i].octets, made[i].size);
    }
    return made;
}

static void open_(asker *who) {
    int buffer = 4 << 20;
    if (who->socket > 0) close(who->socket);
    who->socket = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(who->socket, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    fcntl(who->socket, F_SETFL, O_NONBLOCK);
    if (connect(who->socket, (struct sockaddr *)&server, sizeof server)) {
        perror("connect");
        exit(1);
    }
    who->asked = 0;
}

static size_t copied(question *made, const name *from) {
    memcpy(made->octets + 12, from->octets, sizeof from->octets);
    made->address = from->address;
    return from->size;
}

/* Make the next question. */
static void make(question *made, uint16_t id) {
    static const uint8_t head[10] = {1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    static const uint8_t opt[11] = {0, 0, 41, 4, 0xd0};
    static const uint8_t tail[4] = {0, 1, 0, 1};
    uint8_t *out = made->octets;
    unsigned long number = turn++, place = number % (unsigned long)options.names;
    size_t size;
    made->id = id;
    /* Spread evenly, not in runs. */
    made->blocked = (number * 37) % 100 < (unsigned long)options.blocked;
    made->edns = (number * 61) % 100 < (unsigned long)options.edns;
    out[0] = (uint8_t)(id >> 8);
    out[1] = (uint8_t)id;
    memcpy(out + 2, head, sizeof head);
    out[11] = made->edns;
    if (made->blocked) {
        size = copied(made, &ads[place]);
        made->address = 0;
    } else if (options.once || (number * 53) % 100 < (unsigned long)options.onceShare) {
        size = load_name(out + 12, "new", options.first + fresh++);
        made->address = load_address(out + 12, size);
    } else {
        size = copied(made, &hosts[place]);
    }
    out += 12 + size;
    memcpy(out, tail, sizeof tail);
    out += sizeof tail;
    if (made->edns) memcpy(out, opt, sizeof opt), out += sizeof opt;
    made->size = (uint16_t)(out - made->octets);
}

/* Is this the right answer? */
static int isRight(const question *asked, const uint8_t *reply, size_t size) {
    size_t end = asked->size - (asked->edns ? 11u : 0u), at = end;
    unsigned answers, rCode;
    uint32_t address;
    if (size < end || !(reply[2] & 0x80) || reply[2] & 2) return 0;
    if (memcmp(reply + 12, asked->octets + 12, end - 12)) return 0;
    if (reply[11] != asked->edns && !asked->blocked) return 0;
    answers = (unsigned)reply[6] << 8 | reply[7];
    rCode = reply[3] & 15;
    if (asked->blocked && (rCode == 3 || (!rCode && !answers))) return 1;
    if (rCode || answers != 1) return 0;
    /* The owner is a pointer or the name again. */
    at += reply[at] >= 0xc0 ? 2 : end - 16;
    if (at + 14 > size || reply[at + 1] != 1 || reply[at + 9] != 4) return 0;
    memcpy(&address, reply + at + 10, 4);
    return ntohl(address) == asked->address;
}

static int partOf(double moment) {
    int part = (int)((moment - began) * 10);
    return part < 0 ? 0 : part < PARTS ? part : PARTS - 1;
}

static void check(asker *who, const uint8_t *reply, size_t size, double now) {
    unsigned id;
    question *asked;
    double delay;
    if (size < 12) {
        wrong++;
        return;
    }
    id = (unsigned)reply[0] << 8 | reply[1];
    asked = &who->questions[id % slots];
    if (asked->sent == 0 || asked->id != id) return; /* after it was given up */
    delay = (now - asked->sent) * 1e6;
    waited += delay;
    histogram[delay < BUCKETS ? (int)delay : BUCKETS]++;
    who->underWay--;
    answered++;
    if (parts) {
        int bucket = delay < PART_WIDTH * (PART_BUCKETS - 1) ? (int)delay / PART_WIDTH
                                                              : PART_BUCKETS - 1;
        parts[partOf(asked->sent)][bucket]++;
    }
    asked->sent = 0;
    if (!isRight(asked, reply, size)) wrong++;
}

static int receive(asker *who) {
    static uint8_t datagrams[BATCH][ROOM];
    static struct iovec places[BATCH];
    static struct mmsghdr messages[BATCH];
    int received;
    double now;
    if (!places[0].iov_len)
        for (int i = 0; i < BATCH; i++) {
            places[i] = (struct iovec){datagrams[i], ROOM};
            messages[i].msg_hdr.msg_iov = &places[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
    received = recvmmsg(who->socket, messages, BATCH, MSG_DONTWAIT, NULL);
    if (received <= 0) return 0;
    now = load_now();
    for (int i = 0; i < received; i++) check(who, datagrams[i], messages[i].msg_len, now);
    return received;
}

/* Send questions, those of one length in one message if so told. Returns how many
 * went, and puts those first. */
static int dispatch(asker *who, question **made, int count) {
    static struct iovec places[BATCH];
    static struct mmsghdr messages[BATCH];
    static union {
        uint8_t octets[CMSG_SPACE(sizeof(uint16_t))];
        struct cmsghdr first;
    } control[BATCH];
    question *order[BATCH];
    int sizes[BATCH], bundles = 0, done, placed = 0;
    for (int i = 0; i < count; i++) {
        int size = made[i]->size, known = 0;
        struct msghdr *message = &messages[bundles].msg_hdr;
        for (int b = 0; b < bundles && options.together; b++) known |= sizes[b] == size;
        if (known) continue;
        memset(message, 0, sizeof *message);
        message->msg_iov = &places[placed];
        for (int j = i; j < count; j++)
            if (made[j]->size == size && (j == i || options.together)) {
                places[placed] = (struct iovec){made[j]->octets, (size_t)size};
                order[placed++] = made[j];
                message->msg_iovlen++;
            }
        if (message->msg_iovlen > 1) {
            uint16_t segment = (uint16_t)size;
            struct cmsghdr *part = &control[bundles].first;
            part->cmsg_level = IPPROTO_UDP;
            part->cmsg_type = UDP_SEGMENT;
            part->cmsg_len = CMSG_LEN(sizeof segment);
            memcpy(CMSG_DATA(part), &segment, sizeof segment);
            message->msg_control = part;
            message->msg_controllen = sizeof control[bundles].octets;
        }
        sizes[bundles++] = size;
    }
    done = sendmmsg(who->socket, messages, (unsigned)bundles, 0);
    memcpy(made, order, (size_t)count * sizeof *order);
    placed = 0;
    for (int b = 0; b < done; b++) placed += (int)messages[b].msg_hdr.msg_iovlen;
    return placed;
}

static int ask(asker *who, int count) {
    question *made[BATCH];
    double now = load_now();
    int done;
    for (int i = 0; i < count; i++) {
        uint16_t id = (uint16_t)(who->next + i);
        made[i] = &who->questions[id % slots];
        if (made[i]->sent != 0) {
            count = i;
            break;
        }
        make(made[i], id);
        made[i]->sent = now;
    }
    if (!count) return 0;
    done = dispatch(who, made, count);
    for (int i = done; i < count; i++) made[i]->sent = 0;
    who->next = (uint16_t)(who->next + count);
    who->underWay += done;
    who->asked += (unsigned long)done;
    sent += (unsigned long)done;
    return done;
}

static void giveUp(double before) {
    for (int i = 0; i < options.sockets; i++)
        for (unsigned slot = 0; slot < slots; slot++) {
            question *asked = &askers[i].questions[slot];
            if (asked->sent != 0 && asked->sent < before) {
                if (parts) partLost[partOf(asked->sent)]++;
                asked->sent = 0;
                askers[i].underWay--;
                lost++;
            }
        }
}

/* How many questions this socket may send now. */
static int allowance(const asker *who, double elapsed) {
    int room = options.window - who->underWay;
    if (options.rate > 0) {
        double due = options.rate * elapsed - (double)sent;
        if (due < room) room = due < 0 ? 0 : (int)due;
        return room > BATCH / 4 ? BATCH / 4 : room;
    }
    /* By half batches, so that both sides have batches to work on. */
    if (room < BATCH / 2 && who->underWay > BATCH / 2) return 0;
    return room > BATCH ? BATCH : room;
}

static double percentile(double share) {
    unsigned long seen = 0, most = (unsigned long)((double)answered * share);
    for (int i = 0; i <= BUCKETS; i++)
        if ((seen += histogram[i]) > most) return i + 0.5;
    return BUCKETS;
}

static void run(void) {
    struct pollfd polled[SOCKETS];
    double now, lastLook;
    now = lastLook = began = load_now();
    while ((now = load_now()) - began < options.seconds) {
        int busy = 0;
        for (int i = 0; i < options.sockets; i++) {
            asker *who = &askers[i];
            int room;
            busy += receive(who);
            if (options.renew && who->asked >= (unsigned long)options.renew && !who->underWay)
                open_(who);
            room = allowance(who, now - began);
            if (options.renew && who->asked + (unsigned long)room > (unsigned long)options.renew)
                room = (int)((unsigned long)options.renew > who->asked
                                 ? (unsigned long)options.renew - who->asked
                                 : 0);
            if (room > 0) busy += ask(who, room);
            polled[i] = (struct pollfd){who->socket, POLLIN, 0};
        }
        if (!busy && options.rate <= 0) poll(polled, (nfds_t)options.sockets, 20);
        /* The upstream has the same core, and perhaps the same priority. */
        if (!busy && options.rate > 0) sched_yield();
        if (now - lastLook > 0.5) {
            giveUp(now - 1.0);
            lastLook = now;
        }
    }
    options.seconds = now - began;
    getrusage(RUSAGE_SELF, &usage);
    /* What is still under way has a last chance. */
    for (double end = now + 0.3; load_now() < end;)
        for (int i = 0; i < options.sockets; i++) receive(&askers[i]);
    giveUp(load_now() + 1);
}

/* Print what became of questions, by the tenth of a second in which they were sent. */
static void printParts(void) {
    int most = partOf(began + options.seconds);
    printf("{\"began\": %.6f, \"parts\": [", began);
    for (int part = 0; part <= most; part++) {
        unsigned long all = 0, seen = 0;
        int p99 = 0;
        for (int i = 0; i < PART_BUCKETS; i++) all += parts[part][i];
        while (all && p99 < PART_BUCKETS - 1 && (seen += parts[part][p99]) * 100 <= all * 99) p99++;
        printf("%s[%lu, %u, %d]", part ? ", " : "", all, partLost[part], p99 * PART_WIDTH);
    }
    printf("]}\n");
}

int main(int count, char **arguments) {
    int option;
    while ((option = getopt(count, arguments, "p:a:n:t:w:s:e:b:um:q:r:f:gi")) != -1) switch (option) {
        case 'p': options.port = atoi(optarg); break;
        case 'a': options.address = optarg; break;
        case 'n': options.names = atoi(optarg); break;
        case 't': options.seconds = atof(optarg); break;
        case 'w': options.window = atoi(optarg); break;
        case 's': options.sockets = atoi(optarg); break;
        case 'e': options.edns = atoi(optarg); break;
        case 'b': options.blocked = atoi(optarg); break;
        case 'u': options.once = 1; break;
        case 'm': options.onceShare = atoi(optarg); break;
        case 'q': options.rate = atof(optarg); break;
        case 'r': options.renew = atoi(optarg); break;
        case 'g': options.together = 1; break;
        case 'i':
            if (!(parts = calloc(PARTS, sizeof *parts))) return 1;
            break;
        case 'f': options.first = strtoul(optarg, NULL, 10); break;
        default: return 2;
        }
    if (options.sockets < 1 || options.sockets > SOCKETS || options.window < 1 ||
        options.window > 32768 || options.names < 1) {
        fprintf(stderr, "sockets 1 to %d, window 1 to 32768, names from 1\n", SOCKETS);
        return 2;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)options.port);
    if (inet_pton(AF_INET, options.address, &server.sin_addr) != 1) return 2;
    hosts = names("host", options.names);
    ads = names("ads", options.names);
    if (!hosts || !ads) return 1;
    for (slots = BATCH; slots < 2 * (unsigned)options.window; slots *= 2) {
    }
    for (int i = 0; i < options.sockets; i++) {
        askers[i].questions = calloc(slots, sizeof(question));
        if (!askers[i].questions) return 1;
        open_(&askers[i]);
    }
    run();
    printf("{\"qps\": %.0f, \"sent\": %lu, \"answered\": %lu, \"lost\": %lu, \"wrong\": %lu, "
           "\"mean_us\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"cpu\": %.2f}\n",
           (double)answered / options.seconds, sent, answered, lost, wrong,
           answered ? waited / (double)answered : 0.0, percentile(0.5), percentile(0.99),
           percentile(0.999),
           ((double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
            (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6) / options.seconds);
    if (parts) printParts();
    return 0;
}
