#pragma once

#include "evenkeel/batch_norm.hpp"
#include "evenkeel/group_norm.hpp"
#include "evenkeel/layer_norm.hpp"
#include "evenkeel/tensor_view.hpp"
