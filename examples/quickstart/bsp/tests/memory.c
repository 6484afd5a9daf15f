/* RAM tests on the largest range that is free. They look at its first MiB and its last. */
#include "memory.h"
#include "test.h"

#define MIB (1024u * 1024)
#define WORDS (MIB / sizeof(uint32_t))

static volatile uint32_t *first_mib(void)
{
	return (volatile uint32_t *)memory_free_range().start;
}

static volatile uint32_t *last_mib(void)
{
	struct memory_range range = memory_free_range();

	return (volatile uint32_t *)(range.start + range.size - MIB);
}

static void map_is_plausible(void)
{
	for (unsigned int i = 0; i < memory_range_count(); i++) {
		struct memory_range range = memory_range(i);

		EXPECT(range.size > 0);
		for (unsigned int j = 0; j < i; j++) {
			struct memory_range other = memory_range(j);

			EXPECT(range.start >= other.start + other.size || other.start >= range.start + range.size);
		}
	}
	EXPECT(memory_free_range().size >= 2 * MIB);
}

/* A data line that is stuck or shorted to another loses one of these patterns. */
static void walking_bits_on_the_data_lines(void)
{
	volatile uint32_t *places[] = { first_mib(), last_mib() };

	for (int place = 0; place < 2; place++) {
		for (int bit = 0; bit < 32; bit++) {
			*places[place] = 1u << bit;
			EXPECT(*places[place] == 1u << bit);
			*places[place] = ~(1u << bit);
			EXPECT(*places[place] == ~(1u << bit));
		}
	}
}

/* An address line that is stuck makes two of these offsets the same place. */
static void walking_bits_on_the_address_lines(void)
{
	volatile uint32_t *base = first_mib();
	uint32_t words = memory_free_range().size / sizeof(uint32_t);

	base[0] = 0xffffffff;
	for (uint32_t offset = 1; offset < words; offset <<= 1)
		base[offset] = offset;
	EXPECT(base[0] == 0xffffffff);
	for (uint32_t offset = 1; offset < words; offset <<= 1)
		EXPECT(base[offset] == offset);
}

static void every_word_holds_its_own_address(void)
{
	volatile uint32_t *places[] = { first_mib(), last_mib() };
	uint32_t inverse[] = { 0, 0xffffffff };

	for (int round = 0; round < 2; round++) {
		for (int place = 0; place < 2; place++)
			for (uint32_t i = 0; i < WORDS; i++)
				places[place][i] = (uint32_t)&places[place][i] ^ inverse[round];
		for (int place = 0; place < 2; place++) {
			uint32_t wrong = 0;

			for (uint32_t i = 0; i < WORDS; i++)
				wrong += places[place][i] != ((uint32_t)&places[place][i] ^ inverse[round]);
			EXPECT(wrong == 0);
		}
	}
}

static const struct test_case cases[] = {
	{ "map_is_plausible", map_is_plausible },
	{ "walking_bits_on_the_data_lines", walking_bits_on_the_data_lines },
	{ "walking_bits_on_the_address_lines", walking_bits_on_the_address_lines },
	{ "every_word_holds_its_own_address", every_word_holds_its_own_address },
	{ 0 },
};

const struct test_suite memory_suite = { "memory", cases };
