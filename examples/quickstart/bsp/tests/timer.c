#include "timer.h"
#include "interrupts.h"
#include "io.h"
#include "test.h"

/* A second and more on any CPU that can be bought: only a dead timer takes that long. */
#define PATIENCE_CYCLES (1ull << 32)

/* Lets interrupts in until that many ticks have come, or none come any more. Returns the cycles it took. */
static uint64_t wait_for_ticks(uint32_t count)
{
	uint32_t from = timer_ticks();
	uint64_t start = cycles();

	irq_unmask(TIMER_IRQ);
	interrupts_enable();
	while (timer_ticks() - from < count && cycles() - start < PATIENCE_CYCLES)
		;
	interrupts_disable();
	irq_mask(TIMER_IRQ);
	return cycles() - start;
}

static void ticks_arrive_by_interrupt(void)
{
	uint32_t before = timer_ticks();

	wait_for_ticks(5);
	EXPECT(timer_ticks() - before >= 5);
}

static void a_masked_line_is_silent(void)
{
	uint64_t three_ticks = wait_for_ticks(3);
	uint32_t before = timer_ticks();
	uint64_t start = cycles();

	interrupts_enable();
	while (cycles() - start < three_ticks)
		;
	interrupts_disable();
	EXPECT(timer_ticks() == before);
}

static void a_halted_cpu_wakes_up(void)
{
	uint32_t before = timer_ticks();

	wait_for_ticks(1);
	EXPECT(timer_ticks() != before);
	if (timer_ticks() == before)
		return; /* with a dead timer the CPU would sleep for ever */
	before = timer_ticks();
	irq_unmask(TIMER_IRQ);
	__asm__ volatile("sti; hlt; cli" : : : "memory");
	irq_mask(TIMER_IRQ);
	EXPECT(timer_ticks() != before);
}

static const struct test_case cases[] = {
	{ "ticks_arrive_by_interrupt", ticks_arrive_by_interrupt },
	{ "a_masked_line_is_silent", a_masked_line_is_silent },
	{ "a_halted_cpu_wakes_up", a_halted_cpu_wakes_up },
	{ 0 },
};

const struct test_suite timer_suite = { "timer", cases };
