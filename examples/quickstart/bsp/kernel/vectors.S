/*
 * One stub for each of the 32 CPU exceptions and 16 hardware interrupts. It brings the stack into
 * the shape of struct interrupt_frame and calls interrupt_dispatch().
 */

        .text

        .macro  vector number
vector_\number:
        /* The CPU pushes an error code for some exceptions only; push a zero for the others. */
        .if     !(\number == 8 || (\number >= 10 && \number <= 14) || \number == 17 || \number == 21)
        pushl   $0
        .endif
        pushl   $\number
        jmp     interrupt_common
        .endm

        .altmacro
        .set    n, 0
        .rept   48
        vector  %n
        .set    n, n + 1
        .endr

interrupt_common:
        pushal
        cld
        pushl   %esp
        call    interrupt_dispatch
        addl    $4, %esp
        popal
        addl    $8, %esp                /* the number and the error code */
        iretl

        .macro  vector_address number
        .long   vector_\number
        .endm

        .section .rodata
        .balign 4
        .globl  interrupt_vectors
interrupt_vectors:
        .set    n, 0
        .rept   48
        vector_address %n
        .set    n, n + 1
        .endr
