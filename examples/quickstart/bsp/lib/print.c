#include "print.h"
#include <stdbool.h>
#include <stdint.h>
#include "serial.h"

struct output {
	char *buffer;
	size_t size;
	size_t length;
};

static void put(struct output *out, char c)
{
	if (out->length + 1 < out->size)
		out->buffer[out->length] = c;
	out->length++;
}

static void put_number(struct output *out, uint32_t value, uint32_t base, int width, char pad, bool negative)
{
	char digits[12];
	int count = 0;

	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);
	/* A sign stands before zeros and after spaces. */
	if (negative && pad == '0')
		put(out, '-');
	for (int i = count + negative; i < width; i++)
		put(out, pad);
	if (negative && pad != '0')
		put(out, '-');
	while (count > 0)
		put(out, digits[--count]);
}

int vformat(char *buffer, size_t size, const char *text, va_list args)
{
	struct output out = { buffer, size, 0 };

	for (; *text != '\0'; text++) {
		char pad = ' ';
		int width = 0;

		if (*text != '%') {
			put(&out, *text);
			continue;
		}
		text++;
		if (*text == '0')
			pad = '0';
		while (*text >= '0' && *text <= '9')
			width = width * 10 + (*text++ - '0');
		switch (*text) {
		case 's':
			for (const char *s = va_arg(args, const char *); *s != '\0'; s++)
				put(&out, *s);
			break;
		case 'c':
			put(&out, (char)va_arg(args, int));
			break;
		case 'd': {
			int value = va_arg(args, int);
			uint32_t magnitude = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;

			put_number(&out, magnitude, 10, width, pad, value < 0);
			break;
		}
		case 'u':
			put_number(&out, va_arg(args, uint32_t), 10, width, pad, false);
			break;
		case 'x':
			put_number(&out, va_arg(args, uint32_t), 16, width, pad, false);
			break;
		case 'p':
			put(&out, '0');
			put(&out, 'x');
			put_number(&out, (uint32_t)va_arg(args, void *), 16, 8, '0', false);
			break;
		default:
			put(&out, *text);
			break;
		}
	}
	if (size > 0)
		buffer[out.length < size ? out.length : size - 1] = '\0';
	return (int)out.length;
}

int format(char *buffer, size_t size, const char *text, ...)
{
	va_list args;
	int length;

	va_start(args, text);
	length = vformat(buffer, size, text, args);
	va_end(args);
	return length;
}

void print(const char *text, ...)
{
	char line[256];
	va_list args;

	va_start(args, text);
	vformat(line, sizeof(line), text, args);
	va_end(args);
	for (const char *c = line; *c != '\0'; c++)
		serial_putc(*c);
}
