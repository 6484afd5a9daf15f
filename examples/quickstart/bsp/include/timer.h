#pragma once
#include <stdint.h>

#define TIMER_HZ 100
#define TIMER_IRQ 0

/* Starts the programmable interval timer; its line stays masked until irq_unmask(TIMER_IRQ). */
void timer_init(void);
/* Interrupts of the timer since then. */
uint32_t timer_ticks(void);
