/* Two peers in one program in C, by linkup.h alone: `talk BROKER`. Says what it sees, and exits with 0 where all is right. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linkup.h"

enum { LONG = 30000, BLOCK = 65536 };

static void fail(const char *what, const linkup_event *event) {
  fprintf(stderr, "%s: kind %u, text %s\n", what, event ? event->kind : 0, event && event->text ? event->text : "-");
  exit(1);
}

/* The next event of that kind; others are passed over, but not the end of anything. */
static linkup_event *await_kind(linkup_peer *peer, uint32_t kind) {
  for (;;) {
    linkup_event *event = linkup_next(peer, LONG);
    if (!event) fail("nothing came", NULL);
    if (event->kind == kind) return event;
    if (event->kind == LINKUP_ERROR || event->kind == LINKUP_CLOSED) fail("unexpected", event);
    linkup_event_free(event);
  }
}

static uint32_t await_handle(linkup_peer *peer, uint32_t kind, const char *part) {
  linkup_event *event = await_kind(peer, kind);
  uint32_t handle = event->handle;
  if (part && (!event->text || !strstr(event->text, part))) fail(part, event);
  linkup_event_free(event);
  return handle;
}

static linkup_peer *create(const char *broker, const char *id, const char *more) {
  char options[512];
  char *error = NULL;
  snprintf(options, sizeof options, "{\"id\": \"%s\", \"brokers\": [\"%s\"]%s}", id, broker, more);
  linkup_peer *peer = linkup_create(options, &error);
  if (!peer) {
    fprintf(stderr, "%s\n", error);
    exit(1);
  }
  return peer;
}

static void take_block(linkup_event *event) {
  if (!event) return;
  if (event->kind != LINKUP_MESSAGE || event->length != BLOCK) fail("a block", event);
  printf("block %d\n", event->data[0]);
  linkup_event_free(event);
}

int main(int count, char **arguments) {
  if (count != 2) return 2;
  const char *broker = arguments[1];

  char *error = NULL;
  if (linkup_create("{}", &error) || !strstr(error, "id")) fail("options without an id", NULL);
  linkup_text_free(error);
  if (linkup_create("not JSON", NULL) || linkup_create(NULL, NULL)) fail("no options", NULL);

  linkup_peer *bob = create(broker, "bob", ", \"asks\": true");
  linkup_peer *alice = create(broker, "alice", ", \"metadata\": {\"name\": \"Alice\"}");
  await_handle(bob, LINKUP_REGISTERED, NULL);
  await_handle(alice, LINKUP_REGISTERED, NULL);

  if (linkup_next(alice, 0)) fail("nothing has happened", NULL);
  if (linkup_connect(alice, "", NULL) || linkup_connect(alice, "bob", "no key")) fail("no id, no key", NULL);
  if (linkup_find(alice, "bob") != await_handle(alice, LINKUP_FOUND, "true")) fail("find", NULL);
  if (linkup_send(alice, 12345, "1", 0) != LINKUP_E_CLOSED) fail("no such connection", NULL);

  /* Refused, then accepted. */
  uint32_t refused = linkup_connect(alice, "bob", NULL);
  linkup_answer(bob, await_handle(bob, LINKUP_REQUEST, "Alice"), "not today");
  if (await_handle(alice, LINKUP_CLOSED, "ERR_DENIED") != refused) fail("denied", NULL);
  uint32_t there = linkup_connect(alice, "bob", NULL);
  linkup_answer(bob, await_handle(bob, LINKUP_REQUEST, "alice"), NULL);
  if (await_handle(alice, LINKUP_OPEN, "\"incoming\":false") != there) fail("open", NULL);
  uint32_t here = await_handle(bob, LINKUP_OPEN, "\"incoming\":true");
  linkup_connect(alice, "bob", NULL);
  await_handle(alice, LINKUP_JOINED, "existing");

  if (linkup_send(alice, there, "{not JSON", 0) != LINKUP_E_INVALID) fail("no JSON", NULL);
  if (linkup_send(alice, there, "\xff", 0) != LINKUP_E_INVALID) fail("no UTF-8", NULL);
  if (linkup_send(alice, there, "{\"hi\": 1}", 77) < 0) fail("send", NULL);
  if (linkup_send_bytes(alice, there, (const uint8_t *)"a\0b", 3, 0) < 0) fail("send bytes", NULL);
  await_handle(bob, LINKUP_MESSAGE, "{\"hi\": 1}");
  linkup_event *event = await_kind(bob, LINKUP_MESSAGE);
  if (event->text || event->length != 3 || memcmp(event->data, "a\0b", 3)) fail("bytes", event);
  linkup_event_free(event);
  if (await_handle(alice, LINKUP_ARRIVED, NULL) != 77) fail("arrived", NULL);

  /* A thousand large ones to a reader that begins late: it is never more than agreed, and all of them come. */
  static uint8_t block[BLOCK];
  int full = 0;
  for (int n = 0; n < 1000; n++) {
    block[0] = (uint8_t)n;
    int sent = linkup_send_bytes(alice, there, block, sizeof block, 0);
    if (sent < 0) fail("send a block", NULL);
    if (sent != LINKUP_FULL) continue;
    full = 1;
    /* Bob reads while alice waits for room. */
    while (!(event = linkup_next(alice, 0))) take_block(linkup_next(bob, 10));
    if (event->kind != LINKUP_DRAINED || event->handle != there) fail("drained", event);
    linkup_event_free(event);
  }
  if (!full) fail("never full", NULL);

  linkup_close(alice, there);
  while ((event = linkup_next(bob, LONG)) && event->kind == LINKUP_MESSAGE) take_block(event);
  if (!event || event->kind != LINKUP_CLOSED || event->handle != here || event->text) fail("closed", event);
  linkup_event_free(event);

  linkup_close_peer(alice);
  for (uint32_t kind = 0; kind != LINKUP_PEER_CLOSED;) {
    if (!(event = linkup_next(alice, LONG))) fail("the end", NULL);
    kind = event->kind;
    linkup_event_free(event);
  }
  if (linkup_next(alice, -1)) fail("after the end", NULL);
  linkup_free(alice);
  linkup_free(bob);
  linkup_event_free(NULL);
  linkup_text_free(NULL);
  linkup_free(NULL);
  printf("version %s\n", linkup_version());
  return 0;
}
