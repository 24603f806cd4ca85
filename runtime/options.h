#include <leapverify/runtime/policy/options.h>
