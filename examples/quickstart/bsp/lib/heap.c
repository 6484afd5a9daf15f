/*
 * First fit over a list of blocks in the order of their addresses. Each block has a header in
 * front of it; freeing joins a block with free neighbours.
 */
#include "heap.h"
#include <stdbool.h>
#include <stdint.h>

struct heap_block {
	struct heap_block *next;
	size_t size; /* without this header */
	bool used;
} __attribute__((aligned(HEAP_ALIGNMENT)));

void heap_init(struct heap *heap, void *memory, size_t size)
{
	heap->first = memory;
	heap->first->next = NULL;
	heap->first->size = size - sizeof(struct heap_block);
	heap->first->used = false;
}

void *heap_alloc(struct heap *heap, size_t size)
{
	size = (size + HEAP_ALIGNMENT - 1) & ~(size_t)(HEAP_ALIGNMENT - 1);
	for (struct heap_block *block = heap->first; block != NULL; block = block->next) {
		if (block->used || block->size < size)
			continue;
		/* Split off what is left when it can hold a block of its own. */
		if (block->size >= size + sizeof(struct heap_block) + HEAP_ALIGNMENT) {
			struct heap_block *rest = (struct heap_block *)((uint8_t *)(block + 1) + size);

			rest->next = block->next;
			rest->size = block->size - size - sizeof(struct heap_block);
			rest->used = false;
			block->next = rest;
			block->size = size;
		}
		block->used = true;
		return block + 1;
	}
	return NULL;
}

void heap_free(struct heap *heap, void *memory)
{
	((struct heap_block *)memory - 1)->used = false;
	for (struct heap_block *block = heap->first; block != NULL; block = block->next) {
		while (!block->used && block->next != NULL && !block->next->used) {
			block->size += sizeof(struct heap_block) + block->next->size;
			block->next = block->next->next;
		}
	}
}

size_t heap_largest(const struct heap *heap)
{
	size_t largest = 0;

	for (const struct heap_block *block = heap->first; block != NULL; block = block->next)
		if (!block->used && block->size > largest)
			largest = block->size;
	return largest;
}
