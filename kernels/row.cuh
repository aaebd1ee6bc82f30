// An event's row, with the parts of several values.
//
// Twin of `row_words`, `put_part` and `add_part` of src/ops/score.rs, part of scores.cuh. A word written for each of
// several values, none for one.
#pragma once

namespace pelton::score {

// The part of a missing value.
constexpr float NO_PART = -1.0f;

// Words of a row: one for the part of each value where there are several.
static __device__ __forceinline__ uint32_t row_words(const ScoreParams& p) {
    return p.values == 1 ? ROW : ROW + p.values;
}

// An event's row.
struct Row {
    Words words;
    uint32_t at;
    __device__ __forceinline__ uint32_t& operator[](uint32_t i) const { return words[at + i]; }
    // Puts down the part of a value, where there are several.
    __device__ __forceinline__ void put_part(const ScoreParams& p, uint32_t value, float part) const {
        if (p.values > 1) {
            words[at + ROW + value] = bits_of(part);
        }
    }
    // Adds to the part of a value that is not missing.
    __device__ __forceinline__ void add_part(uint32_t value, float more) const {
        const float part = number_of(words[at + ROW + value]);
        if (part >= 0.0f) {
            words[at + ROW + value] = bits_of(part + more);
        }
    }
};

}  // namespace pelton::score
