// The exact W1 of two clouds of n points of equal weight: the cheapest assignment of one to the other, with the
// potentials that prove it. For the referee of wgan_gp.cc.
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace assignment {

struct Optimum {
  double primal = 0;     // mean cost of the assignment: no cheaper one exists if `dual` equals it
  double dual = 0;       // mean of u + v, which bounds every assignment's cost from below, as u_i + v_j <= cost_ij
  double violation = 0;  // the most by which u_i + v_j exceeds cost_ij
};

// cost: (n, n), double. The Hungarian method with shortest augmenting paths, O(n^3): Kuhn 1955, Jonker & Volgenant
// 1987.
inline Optimum solve(const torch::Tensor& cost) {
  const auto c = cost.accessor<double, 2>();
  const int64_t n = cost.size(0);
  constexpr double kFar = std::numeric_limits<double>::infinity();
  std::vector<double> u(n + 1), v(n + 1);  // from 1; column 0 is the row that looks for a place
  std::vector<int64_t> row_of(n + 1), from(n + 1);
  for (int64_t row = 1; row <= n; ++row) {
    std::vector<double> least(n + 1, kFar);
    std::vector<bool> done(n + 1);
    int64_t column = 0;
    row_of[0] = row;
    do {
      done[column] = true;
      const int64_t at = row_of[column];
      double step = kFar;
      int64_t next = 0;
      for (int64_t j = 1; j <= n; ++j) {
        if (done[j]) continue;
        const double reduced = c[at - 1][j - 1] - u[at] - v[j];
        if (reduced < least[j]) {
          least[j] = reduced;
          from[j] = column;
        }
        if (least[j] < step) {
          step = least[j];
          next = j;
        }
      }
      for (int64_t j = 0; j <= n; ++j) {
        if (done[j]) {
          u[row_of[j]] += step;
          v[j] -= step;
        } else {
          least[j] -= step;
        }
      }
      column = next;
    } while (row_of[column] != 0);
    for (; column != 0; column = from[column]) row_of[column] = row_of[from[column]];
  }
  Optimum optimum;
  const auto count = static_cast<double>(n);
  for (int64_t j = 1; j <= n; ++j) {
    optimum.primal += c[row_of[j] - 1][j - 1] / count;
    optimum.dual += (u[j] + v[j]) / count;
    for (int64_t i = 1; i <= n; ++i) optimum.violation = std::max(optimum.violation, u[i] + v[j] - c[i - 1][j - 1]);
  }
  return optimum;
}

}  // namespace assignment
