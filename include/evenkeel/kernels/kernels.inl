// SPDX-License-Identifier: MIT
//
// All kernels, for the instruction set that instruction_sets.hpp includes this for: each file uses those above it.
// clang-format off
#include "evenkeel/kernels/words.inl"
#include "evenkeel/kernels/formulas.inl"
#include "evenkeel/kernels/activations.inl"
#include "evenkeel/kernels/epilogue.inl"
#include "evenkeel/kernels/lines.inl"
#include "evenkeel/kernels/columns.inl"
#include "evenkeel/kernels/options.inl"
#include "evenkeel/kernels/rows.inl"
#include "evenkeel/kernels/wide.inl"
#include "evenkeel/kernels/sets.inl"
