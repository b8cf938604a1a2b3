# A function whose debug info has functions inlined in each other, DEPTH of them.
    .text
    .globl deep
    .type deep, @function
deep:
    nop
    ret
.Lend:
    .size deep, . - deep

    .section .note.GNU-stack, "", @progbits
    .section .debug_abbrev, "", @progbits
.Labbreviations:
    .uleb128 1, 0x11            # a compile unit
    .byte 1                     # with children
    .uleb128 0x11, 1, 0x12, 7   # DW_AT_low_pc, DW_AT_high_pc
    .uleb128 0x13, 0xb, 0, 0    # DW_AT_language
    .uleb128 2, 0x2e            # a function
    .byte 1
    .uleb128 0x3, 8             # DW_AT_name
    .uleb128 0x11, 1, 0x12, 7, 0, 0
    .uleb128 3, 0x1d            # an inlined one
    .byte 1
    .uleb128 0x3, 8
    .uleb128 0x11, 1, 0x12, 7, 0, 0
    .byte 0

    .section .debug_info, "", @progbits
    .long .Lend_of_unit - .Lunit
.Lunit:
    .short 4
    .long .Labbreviations
    .byte 8
    .uleb128 1
    .quad deep, .Lend - deep
    .byte 0xc                   # C99
    .uleb128 2
    .string "deep"
    .quad deep, .Lend - deep
    .rept DEPTH
    .uleb128 3
    .string "inlined"
    .quad deep, .Lend - deep
    .endr
    .fill DEPTH + 2, 1, 0
.Lend_of_unit:
