#pragma once

/* Sets COM1 to 115200 baud, 8 data bits, no parity, one stop bit. */
void serial_init(void);
void serial_putc(char c);
/* Waits until the last bit has left the wire. */
void serial_drain(void);
