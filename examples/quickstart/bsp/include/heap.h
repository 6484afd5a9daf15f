#pragma once
#include <stddef.h>

/* Every block starts at a multiple of this. */
#define HEAP_ALIGNMENT 16

/* A heap inside one range of memory. */
struct heap {
	struct heap_block *first;
};

/* Makes a heap of a range, which must be aligned to HEAP_ALIGNMENT. */
void heap_init(struct heap *heap, void *memory, size_t size);
/* Returns NULL when there is no gap of that size. */
void *heap_alloc(struct heap *heap, size_t size);
void heap_free(struct heap *heap, void *memory);
/* The largest block that could be allocated now. */
size_t heap_largest(const struct heap *heap);
