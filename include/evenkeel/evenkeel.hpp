// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include "evenkeel/batch_norm.hpp"
#include "evenkeel/conventions.hpp"
#include "evenkeel/epilogue.hpp"
#include "evenkeel/fold.hpp"
#include "evenkeel/group_norm.hpp"
#include "evenkeel/instance_norm.hpp"
#include "evenkeel/layer_norm.hpp"
#include "evenkeel/precise.hpp"
#include "evenkeel/rms_norm.hpp"
#include "evenkeel/tensor_view.hpp"

#endif  // EVENKEEL_IS_SUPPORTED
