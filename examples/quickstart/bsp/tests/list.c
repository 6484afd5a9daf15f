#include "list.h"
#include <stddef.h>
#include <stdint.h>
#include "test.h"

#define NODES 200

static struct list_node nodes[NODES];

/* A linear congruential generator: the same keys on every boot. */
static struct list_node *filled_list(void)
{
	struct list_node *head = NULL;
	uint32_t state = 12345;

	for (int i = 0; i < NODES; i++) {
		state = state * 1103515245 + 12345;
		nodes[i].key = (int)(state >> 16 & 0x3f); /* few keys, so many are equal */
		list_insert(&head, &nodes[i]);
	}
	return head;
}

static void stays_sorted_and_complete(void)
{
	int count = 0;

	for (struct list_node *node = filled_list(); node != NULL; node = node->next) {
		EXPECT(node->next == NULL || node->key <= node->next->key);
		count++;
	}
	EXPECT(count == NODES);
}

static void equal_keys_keep_their_order(void)
{
	for (struct list_node *node = filled_list(); node->next != NULL; node = node->next)
		EXPECT(node->key != node->next->key || node < node->next);
}

static void removing_leaves_the_others(void)
{
	struct list_node *head = filled_list();
	struct list_node stranger = { NULL, 7 };
	int count = 0;

	list_remove(&head, &stranger);
	for (int i = 0; i < NODES; i += 2)
		list_remove(&head, &nodes[i]);
	for (struct list_node *node = head; node != NULL; node = node->next) {
		EXPECT((node - nodes) % 2 == 1);
		count++;
	}
	EXPECT(count == NODES / 2);
	for (int i = 1; i < NODES; i += 2)
		list_remove(&head, &nodes[i]);
	EXPECT(head == NULL);
}

static const struct test_case cases[] = {
	{ "stays_sorted_and_complete", stays_sorted_and_complete },
	{ "equal_keys_keep_their_order", equal_keys_keep_their_order },
	{ "removing_leaves_the_others", removing_leaves_the_others },
	{ 0 },
};

const struct test_suite list_suite = { "list", cases };
