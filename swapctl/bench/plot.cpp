#include "swapctl/bench/plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "swapctl/bench/axis.hpp"

namespace vramswap::swapctl {
namespace {

// In pixels.
constexpr double kWidth = 860;
constexpr double kLabelRight = 230;  // labels end here, bars begin a little further
constexpr double kBarLeft = 240;
constexpr double kBarWidth = 500;  // of the longest; to the right of it is room for its value
constexpr double kBarHeight = 15;
constexpr double kGroupHeight = 32;  // at least, for the two lines of its label
constexpr double kGroupGap = 12;
constexpr double kTitleHeight = 44;
constexpr double kTicksHeight = 40;
constexpr double kHeadHeight = 56;

constexpr const char* kReadColour = "#2b6cb0";
constexpr const char* kWriteColour = "#dd6b20";
constexpr const char* kWhiskerColour = "#1a202c";
constexpr std::size_t kLongestLabel = 32;

struct Bar {
  double value;
  const char* colour;
  // Of a bar that is an average.
  std::optional<std::pair<double, double>> range;
};
struct Group {
  const Target* target;
  std::vector<Bar> bars;

  double height() const {
    return std::max(kGroupHeight, kBarHeight * static_cast<double>(bars.size()));
  }
};
struct Chart {
  std::string_view title;
  std::vector<Group> groups = {};
};

// A path may contain any byte; the result is safe in an XML document of any encoding.
std::string text_of(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else {
      out += c >= ' ' && c <= '~' ? c : '?';
    }
  }
  return out;
}

// The end of a path tells more than its beginning.
std::string label(const std::string& text) {
  if (text.size() <= kLongestLabel) return text_of(text);
  return "..." + text_of(std::string_view(text).substr(text.size() - kLongestLabel + 3));
}

void add_bars(Chart& chart, const Target& target, const std::optional<double>& read,
              const std::optional<double>& write, double unit) {
  Group group{&target, {}};
  if (read) group.bars.push_back({*read / unit, kReadColour, {}});
  if (write) group.bars.push_back({*write / unit, kWriteColour, {}});
  if (!group.bars.empty()) chart.groups.push_back(std::move(group));
}

std::vector<Chart> charts_of(const std::vector<Measured>& rows) {
  Chart sequential{"Sequential, 1 MiB blocks: GB/s (more is better)"};
  Chart random{"Random 4 KiB, 32 in flight: requests a second (more is better)"};
  Chart single{"Single 4 KiB reads: microseconds, average and range (less is better)"};
  for (const Measured& row : rows) {
    add_bars(sequential, row.target, row.sequential_read, row.sequential_write, 1e9);
    add_bars(random, row.target, row.random_read, row.random_write, 1);
    if (const auto& latency = row.single_read) {
      const Bar bar{latency->average, kReadColour, std::pair(latency->min, latency->max)};
      single.groups.push_back({&row.target, {bar}});
    }
  }
  return {sequential, random, single};
}

Axis axis_of(const Chart& chart) {
  std::vector<double> values;
  // A value that rounds to nothing would have no place on a logarithmic axis.
  const auto add = [&](double value) { values.push_back(std::max(value, 1e-6)); };
  for (const Group& group : chart.groups) {
    for (const Bar& bar : group.bars) {
      add(bar.value);
      if (bar.range) add(bar.range->first);
      if (bar.range) add(bar.range->second);
    }
  }
  return Axis::for_values(values);
}

class Drawing {
 public:
  std::string finish() const {
    const double height = y_ + 4;
    return fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0:g}" height="{1:g}" )"
                       R"(viewBox="0 0 {0:g} {1:g}" font-family="sans-serif" font-size="12">)"
                       "\n"
                       R"(<rect width="{0:g}" height="{1:g}" fill="#ffffff"/>)"
                       "\n",
                       kWidth, height) +
           body_ + "</svg>\n";
  }

  void head() {
    text(20, 30, R"(font-size="19" font-weight="bold")", "vramswap bench");
    rectangle(kBarLeft + 360, 18, 13, 13, kReadColour);
    text(kBarLeft + 379, 29, "", "read");
    rectangle(kBarLeft + 440, 18, 13, 13, kWriteColour);
    text(kBarLeft + 459, 29, "", "write");
    y_ = kHeadHeight;
  }

  void chart(const Chart& chart) {
    const Axis axis = axis_of(chart);
    const std::string title =
        fmt::format("{}{}", chart.title, axis.is_logarithmic() ? ", logarithmic scale" : "");
    text(20, y_ + 20, R"(font-size="14" font-weight="bold")", title);
    y_ += kTitleHeight;
    double height = -kGroupGap;
    for (const Group& group : chart.groups) height += group.height() + kGroupGap;
    ticks(axis, height);
    for (const Group& each : chart.groups) {
      group(each, axis);
      y_ += each.height() + kGroupGap;
    }
    y_ += kTicksHeight - kGroupGap;
  }

 private:
  void rectangle(double x, double y, double width, double height, const char* colour) {
    body_ += fmt::format(R"(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="{}"/>)"
                         "\n",
                         x, y, width, height, colour);
  }
  void line(double x1, double y1, double x2, double y2, const char* colour) {
    body_ += fmt::format(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}"/>)"
                         "\n",
                         x1, y1, x2, y2, colour);
  }
  // `what` is XML already.
  void text(double x, double y, std::string_view attributes, std::string_view what) {
    body_ += fmt::format(R"(<text x="{:.1f}" y="{:.1f}" {}>{}</text>)"
                         "\n",
                         x, y, attributes, what);
  }

  void ticks(const Axis& axis, double height) {
    for (const double tick : axis.ticks()) {
      const double x = x_of(axis, tick);
      line(x, y_ - 5, x, y_ + height + 5, "#cbd5e0");
      text(x, y_ + height + 19, R"(text-anchor="middle" font-size="11" fill="#4a5568")",
           fmt::format("{:.15g}", tick));
    }
  }

  void group(const Group& group, const Axis& axis) {
    const double middle = y_ + group.height() / 2;
    text(kLabelRight, middle - 2, R"(text-anchor="end")", label(group.target->name));
    text(kLabelRight, middle + 12, R"(text-anchor="end" font-size="11" fill="#4a5568")",
         label(group.target->kind));
    double y = middle - kBarHeight * static_cast<double>(group.bars.size()) / 2;
    for (const Bar& bar : group.bars) {
      // A bar that is too short to be seen is drawn, too.
      const double width = std::max(1.0, x_of(axis, bar.value) - kBarLeft);
      rectangle(kBarLeft, y + 1, width, kBarHeight - 2, bar.colour);
      double end = kBarLeft + width;
      if (bar.range) {
        const double from = x_of(axis, bar.range->first);
        const double to = x_of(axis, bar.range->second);
        line(from, y + kBarHeight / 2, to, y + kBarHeight / 2, kWhiskerColour);
        line(from, y + 3, from, y + kBarHeight - 3, kWhiskerColour);
        line(to, y + 3, to, y + kBarHeight - 3, kWhiskerColour);
        end = std::max(end, to);
      }
      text(end + 6, y + kBarHeight - 3, "", three_digits(bar.value));
      y += kBarHeight;
    }
  }

  static double x_of(const Axis& axis, double value) {
    return kBarLeft + kBarWidth * axis.position(std::max(value, 1e-6));
  }

  std::string body_;
  double y_ = 0;
};

}  // namespace

std::string bench_plot(const std::vector<Measured>& rows) {
  Drawing drawing;
  drawing.head();
  for (const Chart& chart : charts_of(rows)) {
    if (!chart.groups.empty()) drawing.chart(chart);
  }
  return drawing.finish();
}

}  // namespace vramswap::swapctl
