__attribute__((noinline)) static long add(long x, long y)
{
    volatile long sum = x + y;
    return sum;
}

long tiny(long x)
{
    long y = add(x, 3);
    return add(y, x) * 3;
}
