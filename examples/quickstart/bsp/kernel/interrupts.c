/* The CPU's interrupt table, and the two 8259 controllers that feed it hardware interrupts. */
#include "interrupts.h"
#include <stddef.h>
#include "io.h"
#include "panic.h"

#define VECTORS 48
#define CODE_SEGMENT 0x08
#define GATE_INTERRUPT 0x8e /* present, ring 0, 32-bit */

#define PIC1 0x20
#define PIC2 0xa0
#define PIC_END_OF_INTERRUPT 0x20

struct gate {
	uint16_t offset_low;
	uint16_t segment;
	uint8_t zero;
	uint8_t type;
	uint16_t offset_high;
} __attribute__((packed));

extern const uint32_t interrupt_vectors[VECTORS];

static struct gate gates[VECTORS];
static interrupt_handler handlers[VECTORS];

/* Moves the hardware lines to vectors 32 to 47: their reset default collides with exceptions. */
static void pic_init(void)
{
	outb(PIC1, 0x11); /* start, in cascade */
	outb(PIC2, 0x11);
	outb(PIC1 + 1, INTERRUPT_IRQ0);
	outb(PIC2 + 1, INTERRUPT_IRQ0 + 8);
	outb(PIC1 + 1, 1 << 2); /* the second controller sits on line 2 */
	outb(PIC2 + 1, 2);
	outb(PIC1 + 1, 0x01); /* 8086 mode */
	outb(PIC2 + 1, 0x01);
	outb(PIC1 + 1, 0xff & ~(1 << 2));
	outb(PIC2 + 1, 0xff);
}

void interrupts_init(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) pointer = { sizeof(gates) - 1, (uint32_t)gates };

	for (int i = 0; i < VECTORS; i++) {
		gates[i].offset_low = (uint16_t)interrupt_vectors[i];
		gates[i].offset_high = (uint16_t)(interrupt_vectors[i] >> 16);
		gates[i].segment = CODE_SEGMENT;
		gates[i].type = GATE_INTERRUPT;
	}
	pic_init();
	__asm__ volatile("lidt %0" : : "m"(pointer));
}

void interrupt_handle(unsigned int number, interrupt_handler handler)
{
	handlers[number] = handler;
}

void irq_unmask(unsigned int line)
{
	uint16_t port = (line < 8 ? PIC1 : PIC2) + 1;

	outb(port, (uint8_t)(inb(port) & ~(1u << (line & 7))));
}

void irq_mask(unsigned int line)
{
	uint16_t port = (line < 8 ? PIC1 : PIC2) + 1;

	outb(port, (uint8_t)(inb(port) | 1u << (line & 7)));
}

/* Called by kernel/vectors.S. */
void interrupt_dispatch(struct interrupt_frame *frame)
{
	interrupt_handler handler = handlers[frame->number];

	if (handler != NULL)
		handler(frame);
	else if (frame->number < INTERRUPT_IRQ0)
		panic("CPU exception %u, error code 0x%x, at %p", frame->number, frame->error_code, (void *)frame->eip);
	if (frame->number >= INTERRUPT_IRQ0 + 8)
		outb(PIC2, PIC_END_OF_INTERRUPT);
	if (frame->number >= INTERRUPT_IRQ0)
		outb(PIC1, PIC_END_OF_INTERRUPT);
}
