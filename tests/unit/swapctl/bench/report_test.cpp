#include "swapctl/bench/report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/property_tree/ptree.hpp>
#include <boost/property_tree/xml_parser.hpp>
#include <sstream>

#include "daemon/base/json.hpp"
#include "swapctl/bench/plot.hpp"

namespace vramswap::swapctl {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<Measured> some_rows() {
  return {{.target = {.name = "scratch",
                      .kind = "NVIDIA H200",
                      .size_bytes = 256ULL << 20,
                      .used_bytes = 0},
           .sequential_read = 2.7e9,
           .sequential_write = 1.934e9,
           .random_read = 312345.6,
           .random_write = 98000,
           .single_read = Latency{90.4, 257.25, 437}},
          {.target = {.name = "/dev/zram0",
                      .kind = "zram",
                      .size_bytes = 1ULL << 30,
                      .used_bytes = 512ULL << 20},
           .sequential_read = 1.234e7,
           .random_read = 55,
           .single_read = Latency{3.5, 4.25, 12000}},
          {.target = {.name = "/a <b> & \"c\"\n\xff", .kind = "file"}, .problem = "read: EIO"}};
}

TEST(ThreeDigits, AsManyAsCanBeRead) {
  EXPECT_EQ(three_digits(0.012345), "0.0123");
  EXPECT_EQ(three_digits(1.934), "1.93");
  EXPECT_EQ(three_digits(99.96), "100");
  EXPECT_EQ(three_digits(312345.6), "312346");
}

TEST(BenchTable, ALineATarget) {
  auto rows = some_rows();
  rows[2].target.name = "/swap file";
  EXPECT_EQ(bench_table(rows),
            "NAME       KIND        SIZE USED READ-GB/s WRITE-GB/s READ-IOPS WRITE-IOPS MIN-us "
            "AVG-us MAX-us\n"
            "scratch    NVIDIA H200 256M   0B       2.7       1.93    312346      98000   90.4 "
            "   257    437\n"
            "/dev/zram0 zram          1G 512M    0.0123          -        55          -    3.5 "
            "  4.25  12000\n"
            "/swap file file          0B   0B         -          -         -          -      - "
            "     -      -\n");
}

TEST(BenchJson, HasTheMeasurementsAndThePlan) {
  const TestPlan plan{.duration = std::chrono::seconds(5), .single_reads = 7};
  const auto json = parse_json(bench_json(some_rows(), plan));
  EXPECT_EQ(json["version"], kBenchJsonVersion);
  EXPECT_EQ(json["seconds"], 5);
  EXPECT_EQ(json["single_reads"], 7);
  const auto& devices = json["devices"];
  ASSERT_EQ(devices.size(), 3U);
  EXPECT_EQ(devices[0]["name"], "scratch");
  EXPECT_EQ(devices[0]["kind"], "NVIDIA H200");
  EXPECT_EQ(devices[0]["size_bytes"], 256 << 20);
  EXPECT_EQ(devices[0]["sequential_write_bytes_per_second"], 1.934e9);
  EXPECT_EQ(devices[0]["random_read_iops"], 312345.6);
  EXPECT_EQ(devices[0]["single_read_us"]["average"], 257.25);
  EXPECT_TRUE(devices[0]["problem"].is_null());
  EXPECT_TRUE(devices[1]["random_write_iops"].is_null());
  EXPECT_TRUE(devices[2]["single_read_us"].is_null());
  EXPECT_EQ(devices[2]["problem"], "read: EIO");
}

// Parses it; fails if it is not well formed.
boost::property_tree::ptree read_svg(const std::string& svg) {
  std::istringstream text(svg);
  boost::property_tree::ptree tree;
  boost::property_tree::read_xml(text, tree);
  return tree;
}

TEST(BenchPlot, IsAWellFormedDocumentOfItsOwn) {
  auto rows = some_rows();
  rows[2].sequential_read = 1;
  const auto svg = bench_plot(rows);
  const auto tree = read_svg(svg);
  EXPECT_EQ(tree.get<std::string>("svg.<xmlattr>.xmlns"), "http://www.w3.org/2000/svg");
  for (const char* part : {"scratch", "NVIDIA H200", "/dev/zram0", "2.7", "312346", "257",
                           "&lt;b&gt; &amp;", "logarithmic scale"}) {
    EXPECT_THAT(svg, HasSubstr(part));
  }
  for (const char* part : {"<script", "href", "url(", "nan", "inf", "\xff"}) {
    EXPECT_THAT(svg, Not(HasSubstr(part)));
  }
}

TEST(BenchPlot, ABarForEachValue) {
  const auto count = [](const std::string& text, std::string_view part) {
    std::size_t found = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
  };
  // Two reads each of sequential and random, two single reads and the legend; two writes and the
  // legend.
  const auto svg = bench_plot(some_rows());
  EXPECT_EQ(count(svg, "fill=\"#2b6cb0\""), 7U);
  EXPECT_EQ(count(svg, "fill=\"#dd6b20\""), 3U);
}

TEST(BenchPlot, WithoutMeasurementsItIsStillAPicture) {
  EXPECT_NO_THROW(read_svg(bench_plot({})));
  EXPECT_NO_THROW(
      read_svg(bench_plot({{.target = {.name = "/a", .kind = "file"}, .random_read = 0.0}})));
}

}  // namespace
}  // namespace vramswap::swapctl
