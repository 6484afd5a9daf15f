#include "string.h"
#include <stdint.h>
#include "test.h"

static void memcpy_copies_any_size(void)
{
	uint8_t from[65], to[67];

	for (unsigned int i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i * 7 + 1);
	for (size_t size = 0; size <= sizeof(from); size++) {
		memset(to, 0xee, sizeof(to));
		EXPECT(memcpy(to + 1, from, size) == to + 1);
		EXPECT(memcmp(to + 1, from, size) == 0);
		EXPECT(to[0] == 0xee && to[size + 1] == 0xee);
	}
}

static void memset_fills_only_its_range(void)
{
	uint8_t bytes[32] = { 0 };

	memset(bytes + 3, 0x1a5, 20); /* only the low byte counts */
	for (int i = 0; i < 32; i++)
		EXPECT(bytes[i] == (i >= 3 && i < 23 ? 0xa5 : 0));
}

static void memmove_survives_overlap(void)
{
	char text[] = "0123456789";

	memmove(text + 2, text, 6);
	EXPECT(memcmp(text, "0101234589", 10) == 0);
	memmove(text, text + 2, 6);
	EXPECT(memcmp(text, "0123454589", 10) == 0);
}

static void comparing_orders_by_bytes(void)
{
	EXPECT(memcmp("\x01", "\xff", 1) < 0);
	EXPECT(strcmp("abc", "abc") == 0);
	EXPECT(strcmp("ab", "abc") < 0);
	EXPECT(strcmp("\xff", "a") > 0);
	EXPECT(strlen("") == 0 && strlen("four") == 4);
}

static const struct test_case cases[] = {
	{ "memcpy_copies_any_size", memcpy_copies_any_size },
	{ "memset_fills_only_its_range", memset_fills_only_its_range },
	{ "memmove_survives_overlap", memmove_survives_overlap },
	{ "comparing_orders_by_bytes", comparing_orders_by_bytes },
	{ 0 },
};

const struct test_suite string_suite = { "string", cases };
