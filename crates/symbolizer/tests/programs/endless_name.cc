/* A function whose scope has a parameter with a name of 8^10 parts. */
volatile long sink;

namespace {
template <typename T> using Eight = void (*)(T, T, T, T, T, T, T, T);
typedef Eight<Eight<Eight<Eight<Eight<int>>>>> Fifth;
typedef Eight<Eight<Eight<Eight<Eight<Fifth>>>>> Endless;

inline __attribute__((always_inline)) long scope(Endless, long n)
{
    struct Local {
        long value;
        __attribute__((always_inline)) long held() const { return value * sink; }
    };
    return Local{n + sink}.held();
}
}

int main(int argc, char **) { return scope(nullptr, argc); }
