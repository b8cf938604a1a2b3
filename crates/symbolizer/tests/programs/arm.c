/* No library: for a machine that is not this one. */
int data[64] = { 1 };
int zeros[64];

__attribute__((noinline)) double scale(double x, int by) { return x * by + 0.5; }

static inline __attribute__((always_inline)) int mix(int a, int b)
{
    return (a << 3) ^ (b >> 2) ^ data[a & 63];
}

__attribute__((noinline)) int work(int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) {
        sum += mix(i, sum);
        zeros[i & 63] = sum;
        switch (sum & 7) {
        case 0: sum += (int)scale(sum, i); break;
        case 1: sum -= i * 7; break;
        case 2: sum /= i + 1; break;
        case 3: sum = __builtin_bswap32(sum); break;
        default: break;
        }
    }
    return sum;
}

void _start(void)
{
    for (volatile int n = 0;; n++)
        work(n);
}
