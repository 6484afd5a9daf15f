#include <stdint.h>
#include "interrupts.h"
#include "test.h"

static volatile uint32_t caught;

static void on_breakpoint(struct interrupt_frame *frame)
{
	caught = frame->number;
}

static void on_invalid_opcode(struct interrupt_frame *frame)
{
	caught = frame->number;
	frame->eip += 2; /* step over ud2 */
}

static void breakpoint_reaches_its_handler(void)
{
	caught = 0;
	interrupt_handle(EXCEPTION_BREAKPOINT, on_breakpoint);
	__asm__ volatile("int3" : : : "memory");
	interrupt_handle(EXCEPTION_BREAKPOINT, 0);
	EXPECT(caught == EXCEPTION_BREAKPOINT);
}

static void handler_can_repair_and_go_on(void)
{
	caught = 0;
	interrupt_handle(EXCEPTION_INVALID_OPCODE, on_invalid_opcode);
	__asm__ volatile("ud2" : : : "memory");
	interrupt_handle(EXCEPTION_INVALID_OPCODE, 0);
	EXPECT(caught == EXCEPTION_INVALID_OPCODE);
}

static void registers_survive_an_interrupt(void)
{
	uint32_t b = 0xb0b0b0b0, c = 0xc0c0c0c0, d = 0xd0d0d0d0;

	interrupt_handle(EXCEPTION_BREAKPOINT, on_breakpoint);
	__asm__ volatile("int3" : "+b"(b), "+c"(c), "+d"(d) : : "memory");
	interrupt_handle(EXCEPTION_BREAKPOINT, 0);
	EXPECT(b == 0xb0b0b0b0 && c == 0xc0c0c0c0 && d == 0xd0d0d0d0);
}

static const struct test_case cases[] = {
	{ "breakpoint_reaches_its_handler", breakpoint_reaches_its_handler },
	{ "handler_can_repair_and_go_on", handler_can_repair_and_go_on },
	{ "registers_survive_an_interrupt", registers_survive_an_interrupt },
	{ 0 },
};

const struct test_suite cpu_suite = { "cpu", cases };
