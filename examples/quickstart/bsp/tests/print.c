#include "print.h"
#include "string.h"
#include "test.h"

static char out[64];

static void numbers_in_every_base(void)
{
	format(out, sizeof(out), "%d %u %x", -42, 4000000000u, 0xbeefu);
	EXPECT(strcmp(out, "-42 4000000000 beef") == 0);
	format(out, sizeof(out), "%d %d", 0, -2147483647 - 1);
	EXPECT(strcmp(out, "0 -2147483648") == 0);
}

static void widths_and_padding(void)
{
	format(out, sizeof(out), "[%5d][%05d][%08x][%p]", -42, -42, 0xc0deu, (void *)0x100000);
	EXPECT(strcmp(out, "[  -42][-0042][0000c0de][0x00100000]") == 0);
}

static void strings_characters_and_percent(void)
{
	format(out, sizeof(out), "%s%c 100%%", "seria", 'l');
	EXPECT(strcmp(out, "serial 100%") == 0);
}

static void long_text_is_cut_and_ended(void)
{
	char small[8];

	memset(small, 'x', sizeof(small));
	EXPECT(format(small, 5, "%s", "truncated") == 9);
	EXPECT(strcmp(small, "trun") == 0);
	EXPECT(small[5] == 'x');
}

static const struct test_case cases[] = {
	{ "numbers_in_every_base", numbers_in_every_base },
	{ "widths_and_padding", widths_and_padding },
	{ "strings_characters_and_percent", strings_characters_and_percent },
	{ "long_text_is_cut_and_ended", long_text_is_cut_and_ended },
	{ 0 },
};

const struct test_suite print_suite = { "print", cases };
