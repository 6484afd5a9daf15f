#include "test.h"
#include <stddef.h>
#include "print.h"

static const struct test_suite *const suites[] = {
	&string_suite, &print_suite, &crc32_suite, &list_suite, &heap_suite, &memory_suite, &cpu_suite, &timer_suite,
};

#define SUITES ((int)(sizeof(suites) / sizeof(suites[0])))

static bool case_failed;

void test_fail(const char *file, int line, const char *what)
{
	case_failed = true;
	print("    # %s:%d: expected %s\n", file, line, what);
}

static bool run_suite(int number, const struct test_suite *suite)
{
	int total = 0;
	int failed = 0;

	while (suite->cases[total].name != NULL)
		total++;
	print("    KTAP version 1\n    # Subtest: %s\n    1..%d\n", suite->name, total);
	for (int i = 0; i < total; i++) {
		case_failed = false;
		suite->cases[i].run();
		failed += case_failed;
		print("    %s %d %s\n", case_failed ? "not ok" : "ok", i + 1, suite->cases[i].name);
	}
	print("# %s: pass:%d fail:%d skip:0 total:%d\n", suite->name, total - failed, failed, total);
	print("%s %d %s\n", failed ? "not ok" : "ok", number, suite->name);
	return failed == 0;
}

bool tests_run(void)
{
	bool passed = true;

	print("KTAP version 1\n1..%d\n", SUITES);
	for (int i = 0; i < SUITES; i++)
		passed = run_suite(i + 1, suites[i]) && passed;
	return passed;
}
