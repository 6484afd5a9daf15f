#include "crc32.h"
#include "test.h"

/* The check value that every description of this CRC gives. */
static void check_vector(void)
{
	EXPECT(crc32(0, "123456789", 9) == 0xcbf43926);
}

static void nothing_is_zero(void)
{
	EXPECT(crc32(0, "", 0) == 0);
}

static void pieces_equal_the_whole(void)
{
	for (size_t cut = 0; cut <= 9; cut++)
		EXPECT(crc32(crc32(0, "123456789", cut), "123456789" + cut, 9 - cut) == 0xcbf43926);
}

static void every_bit_counts(void)
{
	uint8_t data[16] = { 0 };
	uint32_t clean = crc32(0, data, sizeof(data));

	for (unsigned int bit = 0; bit < 8 * sizeof(data); bit++) {
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		EXPECT(crc32(0, data, sizeof(data)) != clean);
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static const struct test_case cases[] = {
	{ "check_vector", check_vector },
	{ "nothing_is_zero", nothing_is_zero },
	{ "pieces_equal_the_whole", pieces_equal_the_whole },
	{ "every_bit_counts", every_bit_counts },
	{ 0 },
};

const struct test_suite crc32_suite = { "crc32", cases };
