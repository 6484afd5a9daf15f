#include "heap.h"
#include <stdint.h>
#include "string.h"
#include "test.h"

#define SIZE 4096

static uint8_t memory[SIZE] __attribute__((aligned(HEAP_ALIGNMENT)));
static struct heap heap;

static void blocks_are_aligned_and_apart(void)
{
	uint8_t *blocks[10];

	heap_init(&heap, memory, SIZE);
	for (size_t i = 0; i < 10; i++) {
		blocks[i] = heap_alloc(&heap, i * 9 + 1);
		EXPECT(blocks[i] != NULL && (uintptr_t)blocks[i] % HEAP_ALIGNMENT == 0);
		memset(blocks[i], (int)i, i * 9 + 1);
	}
	for (size_t i = 0; i < 10; i++)
		for (size_t at = 0; at < i * 9 + 1; at++)
			EXPECT(blocks[i][at] == i);
}

static void too_much_is_refused(void)
{
	heap_init(&heap, memory, SIZE);
	EXPECT(heap_alloc(&heap, SIZE) == NULL);
	EXPECT(heap_alloc(&heap, heap_largest(&heap)) != NULL);
	EXPECT(heap_alloc(&heap, 1) == NULL);
}

static void freed_memory_is_used_again(void)
{
	void *first, *second;

	heap_init(&heap, memory, SIZE);
	first = heap_alloc(&heap, 100);
	second = heap_alloc(&heap, 100);
	heap_free(&heap, first);
	EXPECT(heap_alloc(&heap, 100) == first);
	EXPECT(second != first);
}

static void neighbours_join_again(void)
{
	void *blocks[8];
	size_t before;

	heap_init(&heap, memory, SIZE);
	before = heap_largest(&heap);
	for (int i = 0; i < 8; i++)
		blocks[i] = heap_alloc(&heap, 200);
	for (int i = 0; i < 8; i++)
		heap_free(&heap, blocks[(i * 3) % 8]); /* in no particular order */
	EXPECT(heap_largest(&heap) == before);
}

static const struct test_case cases[] = {
	{ "blocks_are_aligned_and_apart", blocks_are_aligned_and_apart },
	{ "too_much_is_refused", too_much_is_refused },
	{ "freed_memory_is_used_again", freed_memory_is_used_again },
	{ "neighbours_join_again", neighbours_join_again },
	{ 0 },
};

const struct test_suite heap_suite = { "heap", cases };
