#include <cstdio>
#include <string>
#include <vector>

namespace shapes {
struct Base {
    virtual ~Base() = default;
    virtual int area(int scale) const = 0;
};
struct Other {
    virtual int sides() const { return 4; }
};
template <typename T> struct Box : Base, Other {
    T side;
    explicit Box(T s) : side(s) {}
    __attribute__((noinline)) int area(int scale) const override { return int(side * side) * scale; }
    __attribute__((noinline)) int sides() const override { return 12; }
};
}

template <typename T> __attribute__((noinline)) T total(const std::vector<T> &items)
{
    T sum{};
    for (const T &item : items)
        sum += item;
    return sum;
}

int main(int argc, char **)
{
    std::vector<std::string> names(argc, "x");
    std::vector<long> numbers(argc, 7);
    shapes::Box<double> box(argc);
    const shapes::Other *other = &box;
    auto closure = [&](int n) __attribute__((noinline)) { return n + argc; };
    std::printf("%zu %ld %d %d %d\n", total(names).size(), total(numbers), box.area(2), other->sides(),
                closure(1));
}
