#include "list.h"
#include <stddef.h>

void list_insert(struct list_node **head, struct list_node *node)
{
	while (*head != NULL && (*head)->key <= node->key)
		head = &(*head)->next;
	node->next = *head;
	*head = node;
}

void list_remove(struct list_node **head, struct list_node *node)
{
	while (*head != NULL && *head != node)
		head = &(*head)->next;
	if (*head != NULL)
		*head = node->next;
}
