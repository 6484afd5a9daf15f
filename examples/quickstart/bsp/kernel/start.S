/* Where the boot loader enters: 32-bit protected mode, paging and interrupts off. */

#define MULTIBOOT_MAGIC 0x1badb002
/* Page-align modules, and tell us about the memory. */
#define MULTIBOOT_FLAGS 0x00000003

        .section .multiboot, "a"
        .balign 4
        .long   MULTIBOOT_MAGIC
        .long   MULTIBOOT_FLAGS
        .long   -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

        .text
        .globl  start
start:
        cli
        cld
        movl    $stack_top, %esp
        movl    %eax, %esi              /* the loader's magic number */

        movl    $bss_start, %edi        /* C expects zeroed variables */
        movl    $bss_end, %ecx
        subl    %edi, %ecx
        xorl    %eax, %eax
        rep stosb

        lgdt    gdt_pointer
        ljmp    $0x08, $1f
1:      movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss

        pushl   %ebx                    /* struct multiboot_info * */
        pushl   %esi
        call    kernel_main
1:      cli
        hlt
        jmp     1b

        .section .rodata
        .balign 8
gdt:    .quad   0
        .quad   0x00cf9a000000ffff      /* 0x08: code, 4 GiB flat */
        .quad   0x00cf92000000ffff      /* 0x10: data, 4 GiB flat */
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   gdt

        .bss
        .balign 16
        .skip   16384
stack_top:
