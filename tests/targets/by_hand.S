/* Hand-written code with CFI expressions: a frame whose size only the program knows, as code that
 * aligns its stack has it. */
        .text
        .globl  with_expression
        .type   with_expression, @function
/* void with_expression(void (*run)(long long), long long until) */
with_expression:
        .cfi_startproc
        push    %rbx
        .cfi_def_cfa_offset 16
        .cfi_offset %rbx, -16
        mov     %rsp, %rbx
        sub     $72, %rsp
        and     $-64, %rsp
        mov     %rbx, 8(%rsp)
        /* CFA = *(rsp + 8) + 16 */
        .cfi_escape 0x0f, 5, 0x77, 8, 0x06, 0x23, 16
        xor     %ebx, %ebx              /* only the expression leads on */
        mov     %rdi, %rax
        mov     %rsi, %rdi
        call    *%rax
        mov     8(%rsp), %rsp
        .cfi_def_cfa %rsp, 16
        pop     %rbx
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   with_expression, .-with_expression

        .globl  with_register
        .type   with_register, @function
/* The same, with the stack pointer kept in a register of its own. */
with_register:
        .cfi_startproc
        push    %r12
        .cfi_def_cfa_offset 16
        .cfi_offset %r12, -16
        mov     %rsp, %r12
        .cfi_def_cfa_register %r12
        sub     $200, %rsp
        and     $-128, %rsp
        mov     %rdi, %rax
        mov     %rsi, %rdi
        call    *%rax
        mov     %r12, %rsp
        .cfi_def_cfa_register %rsp
        pop     %r12
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   with_register, .-with_register

        .section .note.GNU-stack,"",@progbits
