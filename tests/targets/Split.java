// outer -> middle -> hot (3/4) and cold (1/4), compiled by the JIT compiler after a while.
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;

public class Split {
    static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    static long burnt = 1;

    static void hotLeaf() {
        long x = burnt;
        for (int i = 0; i < 20000; i++) x = x * 3 + 1;
        burnt = x;
    }

    static void coldLeaf() {
        long x = burnt;
        for (int i = 0; i < 20000; i++) x = x * 3 + 1;
        burnt = x;
    }

    static long cpuNow() {
        return THREADS.getCurrentThreadCpuTime();
    }

    static void hot(long until) {
        while (cpuNow() < until) hotLeaf();
    }

    static void cold(long until) {
        while (cpuNow() < until) coldLeaf();
    }

    static void middle(long start, long part) {
        hot(start + 3 * part);
        cold(start + 4 * part);
    }

    static void outer(long n) {
        long start = cpuNow();
        for (long i = 0; i < n; i++) {
            long part = 1500000 + i * 7919 % 20 * 100000;
            middle(start, part);
            start += 4 * part;
        }
    }

    public static void main(String[] args) {
        outer(100); // compiles it
        System.out.println("works");
        System.out.flush();
        outer(Long.parseLong(args[0]));
    }
}
