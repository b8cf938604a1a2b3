// Two threads: one throws and catches through frames with destructors, and calls a virtual function
// (3/4 of its time there, 1/4 in what the thrown exceptions run); the other sorts with a lambda.
#include "burn.h"
#include <algorithm>
#include <stdexcept>
#include <thread>
#include <vector>

struct Shape {
    virtual ~Shape() = default;
    virtual void work(ns until) = 0;
};

struct Circle : Shape {
    NOINLINE void work(ns until) override
    {
        while (cpu_now() < until)
            burn(BURN_ROUNDS);
    }
};

struct Guard {
    ns until;
    explicit Guard(ns until) : until(until) {}
    NOINLINE ~Guard()
    {
        while (cpu_now() < until)
            burn(BURN_ROUNDS);
    }
};

NOINLINE void throwing(ns until)
{
    Guard guard(until); // works while the stack is unwound
    throw std::runtime_error("thrown");
}

NOINLINE void catching(ns until)
{
    try {
        throwing(until);
    } catch (const std::runtime_error &) {
        NOT_LAST;
    }
}

NOINLINE void virtual_calls(Shape &shape, ns until)
{
    shape.work(until);
    NOT_LAST;
}

NOINLINE void first_thread(long n)
{
    Circle circle;
    ns until = cpu_now();
    for (long i = 0; i < n; i++) {
        virtual_calls(circle, until += 3 * quarter(i));
        catching(until += quarter(i));
    }
}

struct Lesser {
    NOINLINE static bool is_less(unsigned long a, unsigned long b)
    {
        burn(1000);
        return a < b;
    }
};

NOINLINE void second_thread(ns until)
{
    std::vector<unsigned long> numbers(1000);
    unsigned long x = 1;
    while (cpu_now() < until) {
        for (auto &number : numbers)
            number = x = x * 6364136223846793005 + 1442695040888963407;
        std::sort(numbers.begin(), numbers.end(),
                  [](unsigned long a, unsigned long b) { return Lesser::is_less(a, b); });
    }
}

int main(int argc, char **argv)
{
    long n = cycles(argc, argv);
    std::thread first(first_thread, n);
    std::thread second([n] { second_thread(cpu_now() + n * 3000000); });
    first.join();
    second.join();
}
