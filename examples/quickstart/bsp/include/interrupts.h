#pragma once
#include <stdint.h>

/* The registers of what was interrupted, as kernel/vectors.S leaves them on the stack. */
struct interrupt_frame {
	uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
	uint32_t number, error_code;
	uint32_t eip, cs, eflags;
};

typedef void (*interrupt_handler)(struct interrupt_frame *frame);

enum {
	EXCEPTION_BREAKPOINT = 3,
	EXCEPTION_INVALID_OPCODE = 6,
	/* Where the interrupt controller's lines begin. */
	INTERRUPT_IRQ0 = 32,
};

/* Loads the interrupt table and masks every hardware line. An exception nobody handles panics. */
void interrupts_init(void);
/* Sets the handler of a vector, 0 to 47; NULL takes it away. */
void interrupt_handle(unsigned int number, interrupt_handler handler);
/* Lets a hardware line, 0 to 15, through to the CPU, or holds it back. */
void irq_unmask(unsigned int line);
void irq_mask(unsigned int line);
