/* Channel 0 of the 8254 programmable interval timer. */
#include "timer.h"
#include "interrupts.h"
#include "io.h"

#define PIT_CHANNEL0 0x40
#define PIT_COMMAND 0x43
#define PIT_RATE_GENERATOR 0x34 /* channel 0, both bytes, mode 2 */
#define PIT_CLOCK_HZ 1193182

static volatile uint32_t ticks;

static void on_tick(struct interrupt_frame *frame)
{
	(void)frame;
	ticks++;
}

void timer_init(void)
{
	uint16_t divisor = PIT_CLOCK_HZ / TIMER_HZ;

	interrupt_handle(INTERRUPT_IRQ0 + TIMER_IRQ, on_tick);
	outb(PIT_COMMAND, PIT_RATE_GENERATOR);
	outb(PIT_CHANNEL0, (uint8_t)divisor);
	outb(PIT_CHANNEL0, (uint8_t)(divisor >> 8));
}

uint32_t timer_ticks(void)
{
	return ticks;
}
