/* A 16550 UART at COM1, polled: the console must work even when interrupts do not. */
#include "serial.h"
#include "io.h"

#define COM1 0x3f8

enum {
	DATA = COM1 + 0, /* divisor, low byte, while DLAB is set */
	INTERRUPT_ENABLE = COM1 + 1, /* divisor, high byte, while DLAB is set */
	FIFO_CONTROL = COM1 + 2,
	LINE_CONTROL = COM1 + 3,
	MODEM_CONTROL = COM1 + 4,
	LINE_STATUS = COM1 + 5,
};

#define LINE_8N1 0x03
#define LINE_DLAB 0x80
#define STATUS_HOLDING_EMPTY 0x20
#define STATUS_ALL_SENT 0x40

void serial_init(void)
{
	outb(INTERRUPT_ENABLE, 0);
	outb(LINE_CONTROL, LINE_DLAB);
	outb(DATA, 1); /* 115200 / 1 */
	outb(INTERRUPT_ENABLE, 0);
	outb(LINE_CONTROL, LINE_8N1);
	outb(FIFO_CONTROL, 0x07); /* on, both directions emptied */
	outb(MODEM_CONTROL, 0x03); /* DTR and RTS */
}

void serial_putc(char c)
{
	if (c == '\n')
		serial_putc('\r');
	while (!(inb(LINE_STATUS) & STATUS_HOLDING_EMPTY))
		;
	outb(DATA, (uint8_t)c);
}

void serial_drain(void)
{
	while (!(inb(LINE_STATUS) & STATUS_ALL_SENT))
		;
}
