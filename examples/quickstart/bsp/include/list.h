#pragma once

/* A singly linked list that stays sorted by key. Put a node inside your own structure. */
struct list_node {
	struct list_node *next;
	int key;
};

/* Inserts behind all nodes of the same key, so equal keys keep the order they came in. */
void list_insert(struct list_node **head, struct list_node *node);
/* Takes a node out; one that is not in the list is left alone. */
void list_remove(struct list_node **head, struct list_node *node);
