/*
 * linkup for C, and for whatever can call C: connects two programs by nothing but an id, over WebRTC.
 *
 * A peer is made by linkup_create(). What happens to it is an event, taken by linkup_next(), which waits: most programs
 * have a thread that does nothing else. Nothing is ever called back, so nothing runs in a foreign thread.
 *
 * Texts are UTF-8 and end with a zero byte; what is structured is JSON, with the names of linkup's JavaScript API
 * (index.d.ts). All functions may be called from any thread, also several at once, except that nothing may use a peer
 * during and after its linkup_free(). A process that has made a peer must not dlclose() this library, whose threads go on,
 * and cannot use it after a fork().
 *
 * A program that does not take its messages slows down the peers that send them. One that takes no events at all, while
 * 65,536 of them wait, loses its peer: that ends at once, and LINKUP_PEER_CLOSED with ERR_BUFFER_FULL is the last event.
 * After LINKUP_PEER_CLOSED nothing more comes, also not what linkup_connect() or linkup_find() would be answered with.
 */
#ifndef LINKUP_H
#define LINKUP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What happened: linkup_event.kind. `handle` is a connection where nothing else is said, `text` is NULL where none is named.
 * An error is {"code": "ERR_...", "message": "..."}. */
#define LINKUP_REGISTERED 1   /* Others find it by its id. Again after each re-registration. No handle. */
#define LINKUP_OFFLINE 2      /* No broker at the moment: {"reason", "retryIn"} in ms. It goes on by itself. No handle. */
#define LINKUP_OPEN 3         /* Messages can flow: {"id", "incoming", "metadata", "publicKey"}. */
#define LINKUP_JOINED 4       /* linkup_connect() for a peer with which there is a connection: {"existing": its handle}. */
#define LINKUP_MESSAGE 5      /* JSON as `text`, or bytes as `data` and `length` where `text` is NULL. */
#define LINKUP_CLOSED 6       /* The connection, or the attempt, is over: NULL in order, else the error. The last of its handle. */
#define LINKUP_DRAINED 7      /* There is room again, after linkup_send() has returned 1. */
#define LINKUP_ARRIVED 8      /* The other side has the message. The handle is the token of linkup_send(). */
#define LINKUP_FOUND 9        /* {"found": true or false}, or {"error"}. The handle is what linkup_find() has returned. */
#define LINKUP_REQUEST 10     /* With {"asks": true}: somebody calls, linkup_answer() decides: {"from", "metadata", "publicKey"}. */
#define LINKUP_RECONNECTING 11 /* It has lost its way through the network, and looks for another. What is sent waits. */
#define LINKUP_RECONNECTED 12 /* It has one. Nothing is lost, and nothing comes twice. */
#define LINKUP_ERROR 13       /* What nothing else reports, as an id that is taken: the error. No handle. */
#define LINKUP_PEER_CLOSED 14 /* The last one of all: NULL, or the error. No handle. */

/* What linkup_send() returns. */
#define LINKUP_SENT 0         /* Taken. */
#define LINKUP_FULL 1         /* Taken; the next one should wait for LINKUP_DRAINED. */
#define LINKUP_E_CLOSED (-1)  /* The connection is closed, or there is none. */
#define LINKUP_E_BUFFER_FULL (-2)
#define LINKUP_E_TOO_LARGE (-3)
#define LINKUP_E_UNSUPPORTED (-4) /* Bytes, or a token, for a plain simple-peer client. */
#define LINKUP_E_INVALID (-5)     /* A text that is no UTF-8 or no JSON. */

typedef struct linkup_peer linkup_peer;

typedef struct linkup_event {
  uint32_t kind;
  uint32_t handle;
  const char *text;
  const uint8_t *data;
  size_t length;
} linkup_event;

/* The version, as "0.1.0". */
const char *linkup_version(void);

/*
 * Makes a peer of options as JSON: {"id": "alice", "brokers": ["wss://broker.example.org"]}, and those of createPeer that
 * are data: token, metadata, privateKey, asks, iceServers, iceTransportPolicy, timeouts, limits. NULL where they are
 * wrong; then *error, where `error` is not NULL, says why, and is to be freed by linkup_text_free().
 */
linkup_peer *linkup_create(const char *options, char **error);

/* Waits until an event is there, for so many ms at most (negative: for ever), and takes it. NULL: none came in time, or
 * LINKUP_PEER_CLOSED has been taken. To be freed by linkup_event_free(). */
linkup_event *linkup_next(linkup_peer *peer, int64_t timeout_ms);

/* Connects to a peer; with a public key (not NULL) to nobody else. Returns the connection to be: LINKUP_OPEN,
 * LINKUP_JOINED or LINKUP_CLOSED follows. 0: that is no id, or no key. */
uint32_t linkup_connect(linkup_peer *peer, const char *id, const char *public_key);

/* Sends JSON. With a token that is not 0, LINKUP_ARRIVED follows when the other side has it. */
int32_t linkup_send(linkup_peer *peer, uint32_t connection, const char *json, uint32_t token);

/* Sends bytes, which are copied. */
int32_t linkup_send_bytes(linkup_peer *peer, uint32_t connection, const uint8_t *data, size_t length, uint32_t token);

/* Asks whether a peer is registered: LINKUP_FOUND. 0: that is no id. */
uint32_t linkup_find(linkup_peer *peer, const char *id);

/* Decides about LINKUP_REQUEST: NULL accepts, a reason denies. */
void linkup_answer(linkup_peer *peer, uint32_t connection, const char *reason);

/* Delivers what was sent, then closes the connection: LINKUP_CLOSED. Or gives an attempt up. */
void linkup_close(linkup_peer *peer, uint32_t connection);

/* Delivers, closes each connection, unregisters: LINKUP_PEER_CLOSED. */
void linkup_close_peer(linkup_peer *peer);

/* Ends it at once, and frees it. A linkup_next() that waits elsewhere must have returned. */
void linkup_free(linkup_peer *peer);

void linkup_event_free(linkup_event *event);
void linkup_text_free(char *text);

#ifdef __cplusplus
}
#endif

#endif
