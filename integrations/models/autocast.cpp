#include <ATen/autocast_mode.h>
#include <leapverify/integrations/models/autocast.h>

namespace leapverify::models {
namespace {

void put_in_force(at::DeviceType device, const AutocastState& state) {
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device, state.enabled);
  at::autocast::set_autocast_dtype(device, state.dtype);
  at::autocast::set_autocast_cache_enabled(state.cached);
}

}  // namespace

AutocastState autocast_state(at::DeviceType device) {
  return {at::autocast::is_autocast_enabled(device), at::autocast::get_autocast_dtype(device),
          at::autocast::is_autocast_cache_enabled()};
}

AutocastScope::AutocastScope(at::DeviceType device, const AutocastState& state)
    : device_(device), outside_(autocast_state(device)) {
  put_in_force(device_, state);
}

AutocastScope::~AutocastScope() { put_in_force(device_, outside_); }

}  // namespace leapverify::models
