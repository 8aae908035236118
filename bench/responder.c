/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * Answers any question for an address with the address that load.h gives its
 * name, as fast as the system lets it: the limit for every server, and the
 * upstream that servers are measured with.
 *
 *     responder -p 5300 [-t TTL]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

enum { BATCH = 64, ROOM = 1536 };

static uint8_t datagrams[BATCH][ROOM];
static struct sockaddr_in peers[BATCH];
static struct iovec places[BATCH];
static struct mmsghdr in[BATCH], out[BATCH];
static uint32_t ttl = 3600;

/* Turn a request into its reply, in place. Returns the reply's size, or 0. */
static size_t answer(uint8_t *message, size_t size) {
    size_t name, end;
    int edns;
    if (size < 17 || message[2] & 0xf8 || message[4] || message[5] != 1) return 0;
    name = load_nameSize(message + 12, size - 12);
    end = 12 + name + 4;
    if (!name || end > size) return 0;
    edns = message[11] == 1 && size >= end + 11;
    uint8_t dnssecOK = edns ? message[end + 7] & 0x80 : 0;
    message[2] = 0x80 | (message[2] & 1);
    message[3] = 0x80 | (message[3] & 0x10);
    memset(message + 6, 0, 6);
    if (message[end - 3] == 1 && !message[end - 4]) {
        uint8_t record[16] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4};
        uint32_t values[2] = {htonl(ttl), htonl(load_address(message + 12, name))};
        memcpy(record + 6, values, 4);
        memcpy(record + 12, values + 1, 4);
        memcpy(message + end, record, sizeof record);
        message[7] = 1;
        end += sizeof record;
    }
    if (edns) {
        uint8_t opt[11] = {0, 0, 41, 4, 0xd0, 0, 0, dnssecOK, 0, 0, 0};
        memcpy(message + end, opt, sizeof opt);
        message[11] = 1;
        end += sizeof opt;
    }
    return end;
}

int main(int count, char **arguments) {
    struct sockaddr_in local = {.sin_family = AF_INET};
    int socketNumber = socket(AF_INET, SOCK_DGRAM, 0), buffer = 4 << 20, option;
    local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    while ((option = getopt(count, arguments, "p:t:")) != -1) {
        if (option == 'p') local.sin_port = htons((uint16_t)atoi(optarg));
        else if (option == 't') ttl = (uint32_t)atol(optarg);
        else return 2;
    }
    setsockopt(socketNumber, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(socketNumber, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (bind(socketNumber, (struct sockaddr *)&local, sizeof local)) {
        perror("bind");
        return 1;
    }
    for (int i = 0; i < BATCH; i++) {
        places[i].iov_base = datagrams[i];
        in[i].msg_hdr.msg_iov = &places[i];
        in[i].msg_hdr.msg_iovlen = 1;
        in[i].msg_hdr.msg_name = &peers[i];
    }
    for (;;) {
        int received, ready = 0;
        for (int i = 0; i < BATCH; i++) {
            places[i].iov_len = ROOM - 64;
            in[i].msg_hdr.msg_namelen = sizeof peers[i];
        }
        received = recvmmsg(socketNumber, in, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < received; i++) {
            size_t size = answer(datagrams[i], in[i].msg_len);
            if (!size) continue;
            places[i].iov_len = size;
            out[ready++].msg_hdr = in[i].msg_hdr;
        }
        for (int sent = 0; sent < ready;) {
            int result = sendmmsg(socketNumber, out + sent, (unsigned)(ready - sent), 0);
            sent += result > 0 ? result : 1;
        }
    }
}
